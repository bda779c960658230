//! What a client knows of a program: where values lie, at which scale, which keys are needed. No weight is in it.

use serde::{Deserialize, Serialize};

use super::arrangement::Arrangement;
use crate::error::{Error, Result};
use crate::plan::envelope::ensure;
use crate::scheme::Scheme;

/// What a client knows of a program: no weight is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// ring, slots, keys
    pub arrangement: Arrangement,
    /// images are multiplied by this before they are encoded
    pub input_factor: f64,
    /// answers are multiplied by this after they are decoded
    pub output_factor: f64,
    /// the scale at which images are encoded
    pub input_scale: f64,
    /// the scale of answers
    pub output_scale: f64,
}

impl Interface {
    /// The slots that a client encrypts for as many images as a run takes, flattened, or fewer.
    ///
    /// # Errors
    /// Those of [`Arrangement::place`]; [`Error::Unencodable`] for values that are not finite.
    pub fn slots_of(&self, images: &[f64]) -> Result<Vec<f64>> {
        if let Some(index) = images.iter().position(|x| !x.is_finite()) {
            let reason = "it is not finite; clean the data first".into();
            return Err(Error::Unencodable { value: images[index], index, reason });
        }
        let mut slots = self.arrangement.place(images)?;
        slots.iter_mut().for_each(|value| *value *= self.input_factor);
        Ok(slots)
    }

    /// The answers to the first `count` images in decoded slots, flattened.
    pub fn answers_in(&self, slots: &[f64], count: usize) -> Vec<f64> {
        self.arrangement.answers(count).map(|at| slots[at] * self.output_factor).collect()
    }

    /// Refuses what was read from a file and cannot be.
    ///
    /// # Errors
    /// Those of [`Arrangement::check`]; [`Error::Malformed`].
    pub(super) fn check(&self) -> Result<()> {
        self.arrangement.check(Scheme::Ckks)?;
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let numbers = [self.input_factor, self.output_factor, self.input_scale, self.output_scale];
        ensure(numbers.into_iter().all(positive), "a factor or scale is not positive")
    }
}
