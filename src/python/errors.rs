//! The crate's errors as Python exceptions: one class for each family, defined in `pycrcnn.errors`.

use pyo3::prelude::*;

use crate::error::{Error, Kind};

/// The class in `pycrcnn.errors` that stands for an error.
fn class_name(error: &Error) -> &'static str {
    match error {
        Error::Unencodable { .. } => "EncodingError",
        Error::ParametersMismatch { .. } => "KeyMismatchError",
        Error::OperandMismatch { .. } => "OperandError",
        Error::WrongPassphrase => "PassphraseError",
        Error::OutOfReach(_) => "OutOfReachError",
        _ => match error.kind() {
            Kind::Value => "InvalidValueError",
            Kind::Shape => "ShapeError",
            Kind::Parameters => "ParameterError",
            Kind::Key => "MissingKeyError",
            Kind::Noise => "NoiseBudgetError",
            Kind::Format => "FormatError",
            Kind::Unsupported => "UnsupportedError",
            Kind::Service => "ServiceError",
            Kind::Interrupted => "CancelledError",
            Kind::Runtime => "BackendError",
        },
    }
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        Python::attach(|py| {
            let raise = || {
                if let Error::Service { status, code, detail } = &error {
                    return py.import("pycrcnn.errors")?.getattr("of_service")?.call1((status, code, detail));
                }
                let class = py.import("pycrcnn.errors")?.getattr(class_name(&error))?;
                let exception = class.call1((error.to_string(), error.code()))?;
                if let Error::OutOfReach(reason) = &error {
                    exception.setattr("layer", reason.layer())?;
                    for (name, value) in reason.figures() {
                        exception.getattr("figures")?.set_item(name, value)?;
                    }
                }
                Ok(exception)
            };
            raise().map_or_else(|failure| failure, PyErr::from_value)
        })
    }
}
