//! What a client knows of a batched program: which scale and which parameters. No weight is in it.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::encoding::CkksEncoder;
use crate::error::{Error, Result};
use crate::plan::envelope::{self, Identity, Kind, ensure};
use crate::plan::normal_form::values;
use crate::scheme::{Parameters, Plaintext};

/// What a client knows of a batched program: no weight is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// polynomial degree and primes
    pub parameters: Parameters,
    /// bits of security that the parameters were chosen for
    pub security: u32,
    /// the shape of one image
    pub input_shape: Vec<usize>,
    /// the shape of one answer
    pub output_shape: Vec<usize>,
    /// the scale at which images are encoded
    pub input_scale: f64,
    /// what tells this program from others
    pub program: Identity,
}

impl Interface {
    /// The client's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal(Kind::BatchedClient, self)
    }

    /// A client's part from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], and errors of the parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let interface: Self = envelope::open(Kind::BatchedClient, bytes, limit)?;
        interface.parameters.check_security(interface.security)?;
        let few = |shape: &[usize]| values(shape).is_some_and(|n| (1..1 << 32).contains(&n));
        ensure(few(&interface.input_shape) && few(&interface.output_shape), "its shapes hold no values or too many")?;
        ensure(interface.input_scale.is_finite() && interface.input_scale > 0.0, "its scale is not positive")?;
        Ok(interface)
    }

    /// How many images one run takes: the slots of a ciphertext.
    pub fn capacity(&self) -> usize {
        self.parameters.degree() / 2
    }

    /// Encodes flattened images: plaintext i holds value i of every image, one image a slot. On the rayon pool of the caller.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the number of values is not one to [`capacity`](Self::capacity) images';
    /// [`Error::Unencodable`].
    pub fn encode(&self, encoder: &CkksEncoder, images: &[f64]) -> Result<Vec<Plaintext>> {
        let inputs: usize = self.input_shape.iter().product();
        let count = images.len() / inputs;
        if images.len() != count * inputs || !(1..=self.capacity()).contains(&count) {
            return Err(Error::ShapeMismatch {
                operation: "encrypting a batch",
                expected: format!("1 to {} images of {inputs} values", self.capacity()),
                got: vec![images.len()],
            });
        }
        let primes = self.parameters.data_moduli().len();
        let column = |i: usize| images.iter().skip(i).step_by(inputs).copied().collect::<Vec<f64>>();
        (0..inputs).into_par_iter().map(|i| encoder.encode(&column(i), self.input_scale, primes)).collect()
    }
}
