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
        Error::TooDeep { .. } | Error::TooLong { .. } | Error::TooWide { .. } => "OutOfReachError",
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

/// What was needed and what would fit, by name, of errors that say so.
fn figures(error: &Error) -> Vec<(&'static str, Option<usize>)> {
    match *error {
        Error::TooDeep {
            maps,
            needed,
            each,
            limit,
            degree,
            security,
            precision,
            fitting_maps,
            fitting_precision,
            ..
        } => {
            vec![
                ("maps", Some(maps)),
                ("needed_bits", Some(needed as usize)),
                ("bits_each", Some(each as usize)),
                ("limit_bits", Some(limit as usize)),
                ("degree", Some(degree)),
                ("security", Some(security as usize)),
                ("precision", Some(precision as usize)),
                ("fitting_maps", Some(fitting_maps)),
                ("fitting_precision", fitting_precision.map(|bits| bits as usize)),
            ]
        }
        Error::TooLong { maps, integer_bits, needed, limit, degree, security, precision, fitting_precision } => vec![
            ("maps", Some(maps)),
            ("integer_bits", integer_bits.map(|bits| bits as usize)),
            ("needed_bits", needed.map(|bits| bits as usize)),
            ("limit_bits", Some(limit as usize)),
            ("degree", Some(degree)),
            ("security", Some(security as usize)),
            ("precision", Some(precision as usize)),
            ("fitting_precision", fitting_precision.map(|bits| bits as usize)),
        ],
        Error::TooWide { inputs, outputs, degree, slots, images, times, .. } => vec![
            ("inputs", Some(inputs)),
            ("outputs", Some(outputs)),
            ("degree", Some(degree)),
            ("slots", Some(slots)),
            ("images", Some(images)),
            ("times", Some(times)),
        ],
        _ => Vec::new(),
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
                if let Error::TooDeep { layer, .. } | Error::TooWide { layer, .. } = &error {
                    exception.setattr("layer", layer)?;
                }
                for (name, value) in figures(&error) {
                    exception.getattr("figures")?.set_item(name, value)?;
                }
                Ok(exception)
            };
            raise().map_or_else(|failure| failure, PyErr::from_value)
        })
    }
}
