//! Packed BFV programs as bytes: the server's form with the weights, the client's without, each in an [`envelope`].
//!
//! What is read is checked like everything from outside: every slot, rotation, level and shape before it is used.

use serde::{Deserialize, Serialize};

use super::interface::ExactInterface;
use super::plan::{ExactPlan, levels};
use crate::error::Result;
use crate::evaluator::packed::Descent;
use crate::plan::envelope::{self, Identity, Kind, ensure, open, seal};
use crate::plan::packed::matching::Entry;
use crate::plan::packed::plan::{DiagonalGroup, Step, Tensor, keys};
use crate::ring::primes::is_prime;
use crate::scheme::Parameters;

/// The most plaintext moduli that a program may have.
const MOST_PLAIN_MODULI: usize = 64;

/// [`ExactInterface`] as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    degree: usize,
    moduli: Vec<u64>,
    plain_moduli: Vec<u64>,
    security: u32,
    shapes: [Vec<usize>; 2],
    images: usize,
    input: Vec<Vec<u32>>,
    output: Vec<u32>,
    scales: [f64; 2],
    reply: usize,
    rotations: Vec<(usize, usize)>,
    relinearization: Option<usize>,
    program: Identity,
}

impl ExactPlan {
    /// The program with its weights: the server's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let drops: Vec<bool> = self.descents.iter().map(|&descent| descent == Descent::Drop).collect();
        seal(Kind::ExactProgram, &(written(&self.interface), &self.steps, drops, &self.tensors))
    }

    /// A program from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed), [`Error::TooLarge`](crate::Error::TooLarge), and errors of the
    /// parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let (interface, steps, drops, tensors): (Written, Vec<Step>, Vec<bool>, Vec<Tensor>) =
            open(Kind::ExactProgram, bytes, limit)?;
        let descents = drops.into_iter().map(|drops| if drops { Descent::Drop } else { Descent::Stay }).collect();
        let plan = Self { interface: read(interface)?, steps, descents, tensors };
        plan.check()?;
        Ok(plan)
    }

    /// Whether slots, rotations and levels are such as a plan may have.
    fn check(&self) -> Result<()> {
        let row = self.interface.parameters.degree() / 2;
        let whole = |x: f64| x.fract() == 0.0 && x.abs() < 2f64.powi(126);
        let entries =
            |entries: &[Entry]| entries.iter().all(|entry| (entry.slot as usize) < row && whole(entry.weight));
        let sound = |(step, descent): (&Step, &Descent)| match step {
            Step::Sum { rotations } => {
                let inside = rotations.iter().all(|&rotation| rotation < row) && !rotations.is_empty();
                inside && *descent == Descent::Stay
            }
            Step::Square => true,
            Step::Linear { groups, bias } => {
                let group = |group: &DiagonalGroup| {
                    group.giant < row && group.diagonals.iter().all(|(baby, weights)| *baby < row && entries(weights))
                };
                !groups.is_empty() && groups.iter().all(group) && entries(bias)
            }
        };
        ensure(self.steps.len() == self.descents.len(), "it does not say of each step whether it drops a prime")?;
        let steps = || self.steps.iter().zip(&self.descents);
        ensure(steps().all(sound), "a step names slots, rotations or weights that cannot be")?;
        let squares = self.steps.iter().filter(|step| matches!(step, Step::Square)).count();
        ensure(self.tensors.len() == squares + 2, "it describes other tensors than its steps give")?;
        let data = self.interface.parameters.data_moduli().len();
        let dropped = self.descents.iter().filter(|&&descent| descent == Descent::Drop).count();
        ensure(dropped < data, "its steps drop more primes than it has")?;
        ensure(self.interface.reply <= data - dropped, "its reply has more primes than are left")?;
        let (rotations, relinearization) = keys(&self.steps, &levels(data, &self.descents));
        let keys = rotations == self.interface.rotations && relinearization == self.interface.relinearization;
        ensure(keys, "its steps use other keys than it asks for")
    }
}

impl ExactInterface {
    /// The client's file: everything but the weights.
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(Kind::ExactClient, &written(self))
    }

    /// A client's part from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed), [`Error::TooLarge`](crate::Error::TooLarge), and errors of the
    /// parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        read(open(Kind::ExactClient, bytes, limit)?)
    }
}

/// What tells a program from others.
pub(super) fn identity(plan: &ExactPlan) -> Identity {
    let unnamed = ExactInterface { program: Identity::default(), ..plan.interface.clone() };
    let drops: Vec<bool> = plan.descents.iter().map(|&descent| descent == Descent::Drop).collect();
    envelope::identity(&(written(&unnamed), &plan.steps, drops))
}

fn written(interface: &ExactInterface) -> Written {
    Written {
        degree: interface.parameters.degree(),
        moduli: interface.parameters.moduli().to_vec(),
        plain_moduli: interface.plain_moduli.clone(),
        security: interface.security,
        shapes: [interface.input_shape.clone(), interface.output_shape.clone()],
        images: interface.images,
        input: interface.input.clone(),
        output: interface.output.clone(),
        scales: [interface.input_scale, interface.output_scale],
        reply: interface.reply,
        rotations: interface.rotations.iter().map(|(&rotation, &primes)| (rotation, primes)).collect(),
        relinearization: interface.relinearization,
        program: interface.program,
    }
}

fn read(written: Written) -> Result<ExactInterface> {
    let plain_moduli = written.plain_moduli;
    let first = plain_moduli.first().copied().unwrap_or_default();
    let parameters = Parameters::bfv(written.degree, written.moduli, true, first)?;
    parameters.check_security(written.security)?;
    let n = parameters.degree();
    let slots = |&t: &u64| t % (2 * n as u64) == 1 && is_prime(t) && !parameters.moduli().contains(&t);
    let ascending = plain_moduli.iter().enumerate().all(|(i, t)| !plain_moduli[..i].contains(t));
    let known = plain_moduli.len() <= MOST_PLAIN_MODULI && ascending && plain_moduli.iter().all(slots);
    ensure(known, "a plaintext modulus has no slots, or stands there twice")?;
    let data = parameters.data_moduli().len();
    let [input_shape, output_shape] = written.shapes;
    let values = |shape: &[usize]| shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
    ensure(values(&input_shape) == Some(written.input.len()), "the input's shape does not fit its slots")?;
    ensure(values(&output_shape) == Some(written.output.len()), "the output's shape does not fit its slots")?;
    let images = written.images;
    ensure(images.is_power_of_two() && (2..=n).contains(&images), "the number of images is none that fits")?;
    let inside = |&slot: &u32| (slot as usize) < n / images;
    ensure(!written.input.is_empty() && !written.output.is_empty(), "it has no input or no output")?;
    ensure(written.input.iter().flatten().chain(&written.output).all(inside), "a slot lies outside its image's")?;
    ensure(written.scales.iter().all(|x| x.is_finite() && *x > 0.0), "a scale is not positive")?;
    let served = |primes: usize| (1..=data).contains(&primes);
    let rotation = |&(rotation, primes): &(usize, usize)| (1..n / 2).contains(&rotation) && served(primes);
    ensure(written.rotations.iter().all(rotation), "a rotation or its level does not exist")?;
    ensure(written.relinearization.is_none_or(served), "the relinearization key's level does not exist")?;
    ensure(served(written.reply), "the answer's level does not exist")?;
    Ok(ExactInterface {
        parameters,
        plain_moduli,
        security: written.security,
        input_shape,
        output_shape,
        images,
        input: written.input,
        output: written.output,
        input_scale: written.scales[0],
        output_scale: written.scales[1],
        reply: written.reply,
        rotations: written.rotations.into_iter().collect(),
        relinearization: written.relinearization,
        program: written.program,
    })
}
