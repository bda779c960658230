//! Packed programs as bytes: the server's form with the weights, the client's without, each in an [`envelope`].
//!
//! What is read is checked like everything from outside: every slot, rotation and shape before it is used.

use serde::{Deserialize, Serialize};

use super::interface::Interface;
use super::plan::{Plan, Step, Tensor};
use crate::error::Result;
use crate::plan::envelope::{self, Identity, Kind, ensure, open, seal};
use crate::scheme::Parameters;

/// [`Interface`] as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    degree: usize,
    moduli: Vec<u64>,
    security: u32,
    shapes: [Vec<usize>; 2],
    images: usize,
    input: Vec<Vec<u32>>,
    output: Vec<u32>,
    factors: [f64; 2],
    scales: [f64; 2],
    rotations: Vec<(usize, usize)>,
    relinearization: Option<usize>,
    program: Identity,
}

impl Plan {
    /// The program with its weights: the server's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(Kind::PackedProgram, &(written(&self.interface), &self.steps, &self.tensors))
    }

    /// A program from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], and errors of the parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let (interface, steps, tensors): (Written, Vec<Step>, Vec<Tensor>) = open(Kind::PackedProgram, bytes, limit)?;
        let plan = Self { interface: read(interface)?, steps, tensors };
        plan.check()?;
        Ok(plan)
    }

    /// Whether slots, rotations and levels are such as a plan may have.
    fn check(&self) -> Result<()> {
        let n = self.interface.parameters.degree() / 2;
        let entries = |entries: &[super::matching::Entry]| {
            entries.iter().all(|entry| (entry.slot as usize) < n && entry.weight.is_finite())
        };
        let sound = |step: &Step| match step {
            Step::Sum { rotations } => rotations.iter().all(|&rotation| rotation < n) && !rotations.is_empty(),
            Step::Square => true,
            Step::Linear { groups, bias } => {
                let group = |group: &super::plan::DiagonalGroup| {
                    group.giant < n && group.diagonals.iter().all(|(baby, weights)| *baby < n && entries(weights))
                };
                groups.iter().all(group) && entries(bias)
            }
        };
        let divisions = self.steps.iter().filter(|step| !matches!(step, Step::Sum { .. })).count();
        let data = self.interface.parameters.data_moduli().len();
        ensure(self.steps.iter().all(sound), "a step names slots or rotations that the ring does not have")?;
        let squares = self.steps.iter().filter(|step| matches!(step, Step::Square)).count();
        ensure(self.tensors.len() == squares + 2, "it describes other tensors than its steps give")?;
        ensure(divisions < data, "its steps divide more often than it has primes")?;
        let (rotations, relinearization) = self.keys();
        let keys = rotations == self.interface.rotations && relinearization == self.interface.relinearization;
        ensure(keys, "its steps use other keys than it asks for")
    }
}

impl Interface {
    /// The client's file: everything but the weights.
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(Kind::PackedClient, &written(self))
    }

    /// A client's part from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], and errors of the parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        read(open(Kind::PackedClient, bytes, limit)?)
    }
}

/// What tells a program from others.
pub(super) fn identity(plan: &Plan) -> Identity {
    let unnamed = Interface { program: Identity::default(), ..plan.interface.clone() };
    envelope::identity(&(written(&unnamed), &plan.steps))
}

fn written(interface: &Interface) -> Written {
    Written {
        degree: interface.parameters.degree(),
        moduli: interface.parameters.moduli().to_vec(),
        security: interface.security,
        shapes: [interface.input_shape.clone(), interface.output_shape.clone()],
        images: interface.images,
        input: interface.input.clone(),
        output: interface.output.clone(),
        factors: [interface.input_factor, interface.output_factor],
        scales: [interface.input_scale, interface.output_scale],
        rotations: interface.rotations.iter().map(|(&rotation, &primes)| (rotation, primes)).collect(),
        relinearization: interface.relinearization,
        program: interface.program,
    }
}

fn read(written: Written) -> Result<Interface> {
    let parameters = Parameters::ckks(written.degree, written.moduli, true)?;
    parameters.check_security(written.security)?;
    let n = parameters.degree() / 2;
    let data = parameters.data_moduli().len();
    let [input_shape, output_shape] = written.shapes;
    let values = |shape: &[usize]| shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
    ensure(values(&input_shape) == Some(written.input.len()), "the input's shape does not fit its slots")?;
    ensure(values(&output_shape) == Some(written.output.len()), "the output's shape does not fit its slots")?;
    let images = written.images;
    ensure(images.is_power_of_two() && images <= n, "the number of images is no power of two that fits")?;
    let inside = |&slot: &u32| (slot as usize) < n / images;
    ensure(written.input.iter().flatten().chain(&written.output).all(inside), "a slot lies outside its image's")?;
    let positive = |x: &f64| x.is_finite() && *x > 0.0;
    ensure(written.factors.iter().chain(&written.scales).all(positive), "a factor or scale is not positive")?;
    let served = |primes: usize| (1..=data).contains(&primes);
    let rotation = |&(rotation, primes): &(usize, usize)| (1..n).contains(&rotation) && served(primes);
    ensure(written.rotations.iter().all(rotation), "a rotation or its level does not exist")?;
    ensure(written.relinearization.is_none_or(served), "the relinearization key's level does not exist")?;
    Ok(Interface {
        parameters,
        security: written.security,
        input_shape,
        output_shape,
        images,
        input: written.input,
        output: written.output,
        input_factor: written.factors[0],
        output_factor: written.factors[1],
        input_scale: written.scales[0],
        output_scale: written.scales[1],
        rotations: written.rotations.into_iter().collect(),
        relinearization: written.relinearization,
        program: written.program,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::network::{Activation, AffineMap, Layer, Network};
    use crate::plan::NormalForm;
    use crate::plan::packed::PackedOptions;

    const LIMIT: u64 = 1 << 24;

    fn plan() -> Plan {
        let weights: Vec<f64> = (0..24).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let layers = vec![
            Layer::affine("first", AffineMap::linear(&weights, [6, 4], Some(&[0.1; 6])).unwrap()),
            Layer::activation("square", Activation::Square),
            Layer::affine("second", AffineMap::linear(&weights[..12], [2, 6], None).unwrap()),
        ];
        let network = Network::new(&[4], layers).unwrap();
        Plan::new(&NormalForm::new(&network, &[0.5, -1.0, 0.25, 0.75]).unwrap(), PackedOptions::default()).unwrap()
    }

    #[test]
    fn programs_and_interfaces_come_back_the_same() {
        let plan = plan();
        assert_eq!(Plan::from_bytes(&plan.to_bytes(), LIMIT).unwrap(), plan);
        assert_eq!(Interface::from_bytes(&plan.interface.to_bytes(), LIMIT).unwrap(), plan.interface);
        assert_eq!(plan.interface.program, identity(&plan));
        let error = Plan::from_bytes(&plan.interface.to_bytes(), LIMIT).unwrap_err();
        assert!(error.to_string().contains("server's packed program"), "{error}");
        let error = Plan::from_bytes(&plan.to_bytes(), 100).unwrap_err();
        assert_eq!(error.code(), "too-large");
    }

    proptest! {
        #[test]
        fn damaged_files_are_refused(at: prop::sample::Index, bit in 0u8..8, cut: prop::sample::Index) {
            let bytes = plan().to_bytes();
            let mut damaged = bytes.clone();
            damaged[at.index(bytes.len())] ^= 1 << bit;
            if let Ok(read) = Plan::from_bytes(&damaged, LIMIT) {
                // Some bits of a compressed stream carry nothing.
                prop_assert_eq!(read, plan());
            }
            prop_assert!(Plan::from_bytes(&bytes[..cut.index(bytes.len())], LIMIT).is_err());
        }

        #[test]
        fn foreign_bodies_are_refused_or_sound(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = envelope::enclose(Kind::PackedProgram, &body);
            if let Ok(plan) = Plan::from_bytes(&bytes, LIMIT) {
                prop_assert!(plan.levels().iter().all(|&level| level > 0));
            }
        }
    }
}
