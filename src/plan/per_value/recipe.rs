//! Per-value programs as data: what the server compiles, what the client knows.

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Fidelity, PerValueProgram};
use crate::encoding::FractionalEncoder;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::network::{Network, PlainRing, Simulator};
use crate::plan::envelope::{self, Identity, Kind, ensure};
use crate::plan::normal_form::values;
use crate::plan::rehearsal;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Parameters, Plaintext};

/// How numbers are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digits {
    /// the base of the digits
    pub base: u64,
    /// how many digits an integer part may have
    pub integer: usize,
    /// how many digits a fraction may have
    pub fraction: usize,
}

/// What a per-value program is compiled from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// affine maps and squares
    pub network: Network,
    /// BFV parameters
    pub parameters: Parameters,
    /// how weights and images are encoded
    pub digits: Digits,
    /// whether layers are joined
    pub fidelity: Fidelity,
    /// the largest digit of the answers to some examples
    pub largest_digit: u64,
}

/// A plaintext modulus that no digit outgrows.
const BOUNDLESS: u64 = (1 << 61) - 1;

impl Recipe {
    /// A recipe, with the largest digit of the answers to flattened `examples`, of which there must be one, computed on the
    /// rayon pool of the caller. Digits do not depend on the plaintext modulus until they outgrow it, which these never do.
    ///
    /// # Errors
    /// Those of [`PerValueProgram::compile`], [`Error::ShapeMismatch`] and [`Error::Unencodable`] for unusable examples.
    pub fn new(
        network: Network,
        parameters: Parameters,
        digits: Digits,
        fidelity: Fidelity,
        examples: &[f64],
    ) -> Result<Self> {
        let Digits { base, integer, fraction } = digits;
        let encoder = FractionalEncoder::new(parameters.degree(), BOUNDLESS, base, integer, fraction)?;
        let computed = super::computed(&network, &super::drafts(&network, fidelity)?)?;
        let ring = PlainRing::new(parameters.degree(), BOUNDLESS)?;
        let simulator = Simulator::new(&computed, ring, encoder)?;
        if examples.is_empty() {
            let expected = format!("{} values of each of some examples", network.inputs());
            return Err(Error::ShapeMismatch { operation: "compiling", expected, got: vec![0] });
        }
        let largest_of = |image: &[f64]| -> Result<u64> {
            let answer = simulator.evaluate(simulator.encode(image)?)?;
            let digits = answer.iter().flat_map(|value| value.digits().map(|(_, digit)| digit.unsigned_abs()));
            Ok(digits.max().unwrap_or(0))
        };
        let images = examples.par_chunks(network.inputs()).map(largest_of);
        let largest_digit = images.try_reduce(|| 0, |a, b| Ok(a.max(b)))?;
        Ok(Self { network, parameters, digits, fidelity, largest_digit })
    }

    /// The same with another plaintext modulus.
    ///
    /// # Errors
    /// Those of the parameters.
    pub fn with_plain_modulus(&self, t: u64) -> Result<Self> {
        let (degree, moduli) = (self.parameters.degree(), self.parameters.moduli().to_vec());
        let parameters = Parameters::bfv(degree, moduli, self.parameters.key_switching(), t)?;
        Ok(Self { parameters, ..self.clone() })
    }

    /// The program and the client's part.
    ///
    /// # Errors
    /// Those of [`PerValueProgram::compile`] and of the encoder.
    pub fn compile(&self) -> Result<(PerValueProgram, Interface)> {
        let interface = Interface {
            parameters: self.parameters.clone(),
            digits: self.digits,
            input_shape: self.network.input_shape().to_vec(),
            output_shape: self.network.output_shape().to_vec(),
            program: envelope::identity(self),
        };
        let evaluator = Arc::new(Evaluator::new(Context::new(self.parameters.clone())?));
        let (encoder, largest) = (interface.encoder()?, self.largest_digit);
        let program = PerValueProgram::compile(evaluator, &encoder, &self.network, self.fidelity, largest)?;
        Ok((program, interface))
    }

    /// Seconds of a run of the program on one core, messages included, found by rehearsing it (less than a second, but for
    /// large networks). Run it on one thread.
    ///
    /// # Errors
    /// Those of [`compile`](Self::compile) and of a run.
    pub fn seconds(&self, program: &PerValueProgram) -> Result<f64> {
        let context = program.context();
        let outputs: usize = self.network.output_shape().iter().product();
        let answers = [outputs, (1 << program.squares()) + 1, context.data_primes()];
        let messages =
            rehearsal::receiving(context, program.inputs())? + rehearsal::sending(context, Form::Coefficient, answers)?;
        let arithmetic = rehearsal::in_a_smaller_ring(self.parameters.degree(), |degree| self.rehearse(degree))?;
        Ok(messages + arithmetic)
    }

    /// Seconds of a run in a ring of degree `degree`, or in the program's own where its digits need that.
    fn rehearse(&self, degree: usize) -> Result<f64> {
        let own = self.parameters.degree();
        let moduli = self.parameters.moduli().to_vec();
        let parameters = Parameters::bfv(degree, moduli, false, self.parameters.plain_modulus())?;
        let Digits { integer, fraction, .. } = self.digits;
        if integer + fraction > degree && degree < own {
            return Ok(self.rehearse(own)? * degree as f64 / own as f64);
        }
        let (program, _) = Self { parameters, ..self.clone() }.compile()?;
        let context = program.context();
        let pixel = Ciphertext::zero(context, 2, context.data_primes(), Form::Coefficient, 1.0);
        let image = vec![pixel; program.inputs()];
        let image: Vec<&Ciphertext> = image.iter().collect();
        rehearsal::fastest(|| program.run(&image, &Cancellation::new()).map(drop))
    }

    /// The server's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal(Kind::PerValueProgram, self)
    }

    /// A recipe from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`].
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        envelope::open(Kind::PerValueProgram, bytes, limit)
    }
}

/// What a client knows of a per-value program: no weight is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// BFV parameters
    pub parameters: Parameters,
    /// how images are encoded
    pub digits: Digits,
    /// the shape of one image
    pub input_shape: Vec<usize>,
    /// the shape of one answer
    pub output_shape: Vec<usize>,
    /// what tells this program from others
    pub program: Identity,
}

impl Interface {
    /// The encoder of images and answers.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for digits that do not fit.
    pub fn encoder(&self) -> Result<FractionalEncoder> {
        let Digits { base, integer, fraction } = self.digits;
        FractionalEncoder::new(self.parameters.degree(), self.parameters.plain_modulus(), base, integer, fraction)
    }

    /// Encodes one flattened image, one plaintext a value.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of values, [`Error::Unencodable`].
    pub fn encode(&self, encoder: &FractionalEncoder, image: &[f64]) -> Result<Vec<Plaintext>> {
        let inputs: usize = self.input_shape.iter().product();
        if image.len() != inputs {
            let expected = format!("{inputs} values of one image");
            return Err(Error::ShapeMismatch { operation: "encrypting", expected, got: vec![image.len()] });
        }
        encoder.encode_all(image)
    }

    /// The client's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal(Kind::PerValueClient, self)
    }

    /// A client's part from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`].
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let interface: Self = envelope::open(Kind::PerValueClient, bytes, limit)?;
        let few = |shape: &[usize]| values(shape).is_some_and(|count| (1..1 << 32).contains(&count));
        ensure(few(&interface.input_shape) && few(&interface.output_shape), "its shapes hold no values or too many")?;
        Ok(interface)
    }
}
