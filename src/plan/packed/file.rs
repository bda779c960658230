//! Packed programs as bytes: the server's form with the weights, the client's without, each in an [`envelope`].
//!
//! What is read is checked like everything from outside: every slot, rotation and shape before it is used.

use super::interface::Interface;
use super::plan::{Plan, Step, Tensor};
use crate::error::Result;
use crate::plan::envelope::{self, Identity, Kind, ensure, open, seal};

impl Plan {
    /// The program with its weights: the server's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(Kind::PackedProgram, &(&self.interface, &self.steps, &self.tensors))
    }

    /// A program from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], and errors of the parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let (interface, steps, tensors): (Interface, Vec<Step>, Vec<Tensor>) = open(Kind::PackedProgram, bytes, limit)?;
        interface.check()?;
        let plan = Self { interface, steps, tensors };
        plan.check()?;
        Ok(plan)
    }

    /// Whether slots, rotations and levels are such as a plan may have.
    fn check(&self) -> Result<()> {
        let arrangement = &self.interface.arrangement;
        check_steps(&self.steps, &self.tensors, arrangement.parameters.degree() / 2, f64::is_finite)?;
        let divisions = self.steps.iter().filter(|step| !matches!(step, Step::Sum { .. })).count();
        let data = arrangement.parameters.data_moduli().len();
        ensure(divisions < data, "its steps divide more often than it has primes")?;
        let (rotations, relinearization) = self.keys();
        let keys = rotations == arrangement.rotations && relinearization == arrangement.relinearization;
        ensure(keys, "its steps use other keys than it asks for")
    }
}

/// Refuses steps that name what a row of `row` slots does not have, weights that are none, and tensors of other steps.
///
/// # Errors
/// [`Error::Malformed`].
pub(super) fn check_steps(steps: &[Step], tensors: &[Tensor], row: usize, is_weight: fn(f64) -> bool) -> Result<()> {
    let sound = |step: &Step| {
        step.rotations().all(|rotation| rotation < row)
            && step.entries().all(|entry| (entry.slot as usize) < row && is_weight(entry.weight))
    };
    ensure(steps.iter().all(sound), "a step names slots, rotations or weights that cannot be")?;
    let empty = |step: &Step| match step {
        Step::Sum { rotations } => rotations.is_empty(),
        Step::Linear { groups, .. } => groups.is_empty(),
        Step::Square => false,
    };
    ensure(!steps.iter().any(empty), "a step does nothing")?;
    let squares = steps.iter().filter(|step| matches!(step, Step::Square)).count();
    ensure(tensors.len() == squares + 2, "it describes other tensors than its steps give")
}

impl Interface {
    /// The client's file: everything but the weights.
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(Kind::PackedClient, self)
    }

    /// A client's part from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], and errors of the parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let interface: Self = open(Kind::PackedClient, bytes, limit)?;
        interface.check()?;
        Ok(interface)
    }
}

/// What tells a program from others.
pub(super) fn identity(plan: &Plan) -> Identity {
    let mut unnamed = plan.interface.clone();
    unnamed.arrangement.program = Identity::default();
    envelope::identity(&(unnamed, &plan.steps))
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
        assert_eq!(plan.interface.arrangement.program, identity(&plan));
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
