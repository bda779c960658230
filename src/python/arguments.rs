//! Whole numbers from Python: a negative or absurd one is a typed error, like every other bad argument.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;

use crate::error::Error;

/// The number of threads to work on: see [`runtime::install`](crate::runtime::install), which bounds it.
pub fn threads(value: &Bound<'_, PyAny>) -> PyResult<usize> {
    number(value, "threads", "0 stands for all cores, 1 for one thread")
}

/// A number of things, or numbers of them: from 0 up.
pub fn count<T: Count>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    T::read(value)
}

/// What [`count`] reads.
pub trait Count: Sized {
    fn read(value: &Bound<'_, PyAny>) -> PyResult<Self>;
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Count for $number {
            fn read(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                number(value, "argument", concat!("counts, sizes and moduli are ", stringify!($number), ", from 0 up"))
            }
        }
    )*};
}

whole_numbers!(u32, u64, usize);

impl<T: Count> Count for Vec<T> {
    fn read(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        value.try_iter()?.map(|item| T::read(&item?)).collect()
    }
}

impl<T: Count, const N: usize> Count for [T; N] {
    fn read(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Vec::read(value)?.try_into().map_err(|items: Vec<T>| {
            PyTypeError::new_err(format!("expected a sequence of length {N} (got {})", items.len()))
        })
    }
}

fn number<T: TryFrom<i128>>(value: &Bound<'_, PyAny>, name: &'static str, allowed: &str) -> PyResult<T> {
    match value.extract::<i128>() {
        Ok(number) => T::try_from(number).ok(),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => None,
        Err(error) => return Err(error),
    }
    .ok_or_else(|| Error::InvalidArgument { name, reason: format!("{value} is out of range; {allowed}") }.into())
}
