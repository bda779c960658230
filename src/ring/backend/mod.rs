//! Vector instruction sets, chosen once at run time.
//!
//! Every kernel of this layer has a portable version, which is the oracle, and faster versions that
//! agree with it bit for bit. The fastest backend that the machine has is used unless the
//! environment variable `PYCRCNN_BACKEND` names another.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod ifma;

use std::sync::OnceLock;

use crate::error::{Error, Result};

/// The instruction set that kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// plain Rust: every machine, every modulus below 2^61
    Portable,
    /// AVX2 and FMA: moduli below 2^50 as pairs of doubles
    Avx2,
    /// AVX-512 with IFMA, 52-bit integer multiply-add: moduli below 2^50
    Avx512Ifma,
}

impl Backend {
    /// All backends, slowest first.
    pub const ALL: [Backend; 3] = [Backend::Portable, Backend::Avx2, Backend::Avx512Ifma];

    /// The environment variable that overrides the choice.
    pub const VARIABLE: &str = "PYCRCNN_BACKEND";

    /// The name by which `PYCRCNN_BACKEND` asks for it.
    pub const fn name(self) -> &'static str {
        match self {
            Backend::Portable => "portable",
            Backend::Avx2 => "avx2",
            Backend::Avx512Ifma => "avx512",
        }
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        match self {
            Backend::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Ifma => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512ifma")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Avx2 | Backend::Avx512Ifma => false,
        }
    }

    /// The backends that this machine can run, slowest first; the first is always
    /// [`Backend::Portable`].
    pub fn available() -> Vec<Backend> {
        Self::ALL.into_iter().filter(|backend| backend.is_available()).collect()
    }

    /// The backend of this process: the one that `PYCRCNN_BACKEND` names, otherwise the fastest
    /// available. Read once, at the first call.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`] where the variable names none that this machine has.
    pub fn current() -> Result<Backend> {
        static CURRENT: OnceLock<Result<Backend>> = OnceLock::new();
        CURRENT
            .get_or_init(|| {
                Self::choose(std::env::var_os(Self::VARIABLE).map(|v| v.to_string_lossy().into_owned()).as_deref())
            })
            .clone()
    }

    fn choose(name: Option<&str>) -> Result<Backend> {
        let available = Self::available();
        match name {
            None | Some("") => Ok(available.last().copied().unwrap_or(Backend::Portable)),
            Some(name) => {
                available.into_iter().find(|backend| backend.name() == name).ok_or_else(|| Self::unknown(name))
            }
        }
    }

    /// Itself, if this machine can run it.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`].
    pub(crate) fn checked(self) -> Result<Backend> {
        if self.is_available() { Ok(self) } else { Err(Self::unknown(self.name())) }
    }

    fn unknown(name: &str) -> Error {
        Error::UnknownBackend { name: name.into(), available: Self::available().into_iter().map(Self::name).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_variable_overrides_the_fastest() {
        assert_eq!(Backend::choose(None).unwrap(), *Backend::available().last().unwrap());
        assert_eq!(Backend::choose(Some("")).unwrap(), *Backend::available().last().unwrap());
        for backend in Backend::available() {
            assert_eq!(Backend::choose(Some(backend.name())).unwrap(), backend);
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_choices() {
        let error = Backend::choose(Some("neon")).unwrap_err();
        assert_eq!(
            error,
            Error::UnknownBackend {
                name: "neon".into(),
                available: Backend::available().into_iter().map(Backend::name).collect()
            }
        );
    }
}
