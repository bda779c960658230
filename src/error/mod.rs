//! The one error type of the crate.

mod out_of_reach;

use thiserror::Error;

pub use out_of_reach::{Needs, OutOfReach};

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, with the data that says what and where.
///
/// Each variant has a stable [`code`](Error::code) and a [`kind`](Error::kind), which the Python
/// layer maps to an exception class.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Error {
    /// The polynomial degree N is not one that the library supports.
    #[error("polynomial degree {degree} is not supported: choose a power of two from {min} to {max}")]
    InvalidDegree {
        /// the degree given
        degree: usize,
        /// the smallest supported degree
        min: usize,
        /// the largest supported degree
        max: usize,
    },
    /// A coefficient or plaintext modulus is unusable.
    #[error("modulus {value} is not usable: {reason}")]
    InvalidModulus {
        /// the modulus given
        value: u64,
        /// what is wrong with it and what to choose instead
        reason: String,
    },
    /// Not enough NTT-friendly primes of a size exist.
    #[error(
        "only {found} of {wanted} primes of {bits} bits are congruent to 1 modulo {factor}: ask for more bits or fewer primes"
    )]
    PrimesExhausted {
        /// how many were found
        found: usize,
        /// how many were wanted
        wanted: usize,
        /// their size in bits
        bits: u32,
        /// the factor of p - 1
        factor: u64,
    },
    /// The parameters do not reach the security level asked for.
    #[error(
        "N = {degree} with a {bits}-bit coefficient modulus is below {security}-bit security: the limit is {limit} bits; use a larger N or smaller primes"
    )]
    Insecure {
        /// polynomial degree
        degree: usize,
        /// bits of the whole coefficient modulus
        bits: u32,
        /// the security level asked for, in bits
        security: u32,
        /// the largest modulus that reaches it, in bits
        limit: u32,
    },
    /// An argument has an unusable value.
    #[error("{name}: {reason}")]
    InvalidArgument {
        /// the argument's name
        name: &'static str,
        /// what is wrong and what to give instead
        reason: String,
    },
    /// Array shapes do not fit together.
    #[error("{operation}: shape {got:?} does not fit, expected {expected}")]
    ShapeMismatch {
        /// the operation that was asked for
        operation: &'static str,
        /// what it needs
        expected: String,
        /// what it was given
        got: Vec<usize>,
    },
    /// Objects made for different encryption parameters were mixed.
    #[error("{operation}: the {object} was made for other encryption parameters; use objects of one context only")]
    ParametersMismatch {
        /// the operation that was asked for
        operation: &'static str,
        /// the object that does not fit
        object: &'static str,
    },
    /// Ciphertexts at different levels, forms, sizes or scales were combined.
    #[error("{operation}: {what} differ ({left} and {right}); {remedy}")]
    OperandMismatch {
        /// the operation that was asked for
        operation: &'static str,
        /// what differs
        what: &'static str,
        /// the left operand's
        left: String,
        /// the right operand's
        right: String,
        /// what to do
        remedy: &'static str,
    },
    /// A key that the operation needs is not there.
    #[error("{operation} needs {key}; {remedy}")]
    MissingKey {
        /// the operation that was asked for
        operation: &'static str,
        /// the key that is missing
        key: String,
        /// how to get it
        remedy: &'static str,
    },
    /// The modulus chain is used up.
    #[error(
        "{operation} needs {needed} more level(s) and {available} are left; choose parameters with a longer modulus chain"
    )]
    LevelExhausted {
        /// the operation that was asked for
        operation: &'static str,
        /// levels needed
        needed: usize,
        /// levels left
        available: usize,
    },
    /// The noise has used up the budget: decryption would give a wrong answer.
    #[error(
        "the noise budget is exhausted ({0} bits are left): the result cannot be decrypted; choose a larger polynomial degree m, a smaller plaintext modulus p, or re-encrypt between layers"
    )]
    NoiseBudgetExhausted(u32),
    /// A CKKS result has outgrown its modulus, or its scale left the usable range.
    #[error("{operation}: {reason}")]
    ScaleOutOfRange {
        /// the operation that was asked for
        operation: &'static str,
        /// what is wrong and what to do
        reason: String,
    },
    /// A number cannot be encoded: NaN, infinite, or too large.
    #[error("value {value} at flat index {index} cannot be encoded: {reason}")]
    Unencodable {
        /// the value
        value: f64,
        /// its position in the flattened input
        index: usize,
        /// what is wrong and what to do
        reason: String,
    },
    /// Bytes from outside are not a valid object.
    #[error("malformed {object} at byte {offset}: {reason}")]
    Malformed {
        /// what was being read
        object: &'static str,
        /// where in the (uncompressed) bytes
        offset: usize,
        /// what is wrong
        reason: String,
    },
    /// Bytes from outside are larger, or would expand to more, than the caller allows.
    #[error("{object} of {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// what was being read
        object: &'static str,
        /// its size in bytes
        size: u64,
        /// the limit in bytes
        limit: u64,
    },
    /// A backend was asked for that this machine does not have.
    #[error("backend {name:?} is not available: choose one of {available:?} (environment variable PYCRCNN_BACKEND)")]
    UnknownBackend {
        /// the name asked for
        name: String,
        /// what this machine has
        available: Vec<&'static str>,
    },
    /// The operation is not defined for this scheme or layout.
    #[error("{operation} is not supported: {reason}")]
    Unsupported {
        /// the operation that was asked for
        operation: &'static str,
        /// why, and what to use instead
        reason: String,
    },
    /// No secure ring has room for a network.
    #[error("{0}")]
    OutOfReach(Box<OutOfReach>),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Entropy(String),
    /// The call was interrupted: by Ctrl-C, or by whoever no longer wants its result.
    #[error("interrupted")]
    Interrupted,
    /// A secret key is locked under another passphrase, or was changed.
    #[error("the passphrase is not the one that the secret key was saved with, or the file was changed")]
    WrongPassphrase,
    /// A service refused a request.
    #[error("{detail}")]
    Service {
        /// HTTP's status
        status: u16,
        /// the stable code that it gave, or nothing
        code: String,
        /// what it says is wrong
        detail: String,
    },
    /// A service cannot be reached, or the connection to it broke off.
    #[error("{url} cannot be reached: {reason}")]
    Connection {
        /// the service's address
        url: String,
        /// what happened
        reason: String,
    },
    /// Microsoft SEAL refused an operation.
    #[error("Microsoft SEAL refused {operation}: {reason}")]
    Seal {
        /// the SEAL call
        operation: &'static str,
        /// SEAL's answer
        reason: String,
    },
}

/// The family of an error; the Python layer has one exception class for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// an unusable value
    Value,
    /// shapes that do not fit
    Shape,
    /// parameters below the security asked for, or unusable
    Parameters,
    /// a key is missing or belongs to other parameters
    Key,
    /// noise budget, levels or scale are used up
    Noise,
    /// malformed or oversized bytes
    Format,
    /// an operation that does not exist for this object
    Unsupported,
    /// a service that refuses or cannot be reached
    Service,
    /// Ctrl-C
    Interrupted,
    /// a failure inside SEAL or the operating system
    Runtime,
}

impl Error {
    /// A stable identifier of the variant, for programs and for the documentation.
    pub fn code(&self) -> &'static str {
        match self {
            Error::InvalidDegree { .. } => "invalid-degree",
            Error::InvalidModulus { .. } => "invalid-modulus",
            Error::PrimesExhausted { .. } => "primes-exhausted",
            Error::Insecure { .. } => "insecure",
            Error::InvalidArgument { .. } => "invalid-argument",
            Error::ShapeMismatch { .. } => "shape-mismatch",
            Error::ParametersMismatch { .. } => "parameters-mismatch",
            Error::OperandMismatch { .. } => "operand-mismatch",
            Error::MissingKey { .. } => "missing-key",
            Error::LevelExhausted { .. } => "level-exhausted",
            Error::NoiseBudgetExhausted(_) => "noise-budget-exhausted",
            Error::ScaleOutOfRange { .. } => "scale-out-of-range",
            Error::Unencodable { .. } => "unencodable",
            Error::Malformed { .. } => "malformed",
            Error::TooLarge { .. } => "too-large",
            Error::UnknownBackend { .. } => "unknown-backend",
            Error::Unsupported { .. } => "unsupported",
            Error::OutOfReach(reason) => reason.code(),
            Error::Entropy(_) => "entropy",
            Error::Interrupted => "interrupted",
            Error::WrongPassphrase => "wrong-passphrase",
            Error::Service { .. } => "service",
            Error::Connection { .. } => "connection",
            Error::Seal { .. } => "seal",
        }
    }

    /// The family of the variant.
    pub fn kind(&self) -> Kind {
        match self {
            Error::InvalidArgument { .. } | Error::Unencodable { .. } | Error::UnknownBackend { .. } => Kind::Value,
            Error::ShapeMismatch { .. } => Kind::Shape,
            Error::InvalidDegree { .. }
            | Error::InvalidModulus { .. }
            | Error::PrimesExhausted { .. }
            | Error::Insecure { .. } => Kind::Parameters,
            Error::ParametersMismatch { .. } | Error::MissingKey { .. } | Error::WrongPassphrase => Kind::Key,
            Error::OperandMismatch { .. }
            | Error::LevelExhausted { .. }
            | Error::NoiseBudgetExhausted(_)
            | Error::ScaleOutOfRange { .. } => Kind::Noise,
            Error::Malformed { .. } | Error::TooLarge { .. } => Kind::Format,
            Error::Unsupported { .. } | Error::OutOfReach(_) => Kind::Unsupported,
            Error::Interrupted => Kind::Interrupted,
            Error::Service { .. } | Error::Connection { .. } => Kind::Service,
            Error::Entropy(_) | Error::Seal { .. } => Kind::Runtime,
        }
    }
}
