//! Packed BFV programs as bytes: the server's form with the weights, the client's without, each in an [`envelope`].
//!
//! What is read is checked like everything from outside: every slot, rotation, level and shape before it is used.

use super::interface::ExactInterface;
use super::plan::{ExactPlan, levels};
use crate::error::Result;
use crate::evaluator::packed::Descent;
use crate::plan::envelope::{self, Identity, Kind, ensure, open, seal};
use crate::plan::packed::file::check_steps;
use crate::plan::packed::plan::{Step, Tensor, keys};

impl ExactPlan {
    /// The program with its weights: the server's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(Kind::ExactProgram, &(&self.interface, &self.steps, self.drops(), &self.tensors))
    }

    /// A program from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed), [`Error::TooLarge`](crate::Error::TooLarge), and errors of the
    /// parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let (interface, steps, drops, tensors): (ExactInterface, Vec<Step>, Vec<bool>, Vec<Tensor>) =
            open(Kind::ExactProgram, bytes, limit)?;
        interface.check()?;
        let descents = drops.into_iter().map(|drops| if drops { Descent::Drop } else { Descent::Stay }).collect();
        let plan = Self { interface, steps, descents, tensors };
        plan.check()?;
        Ok(plan)
    }

    /// Whether each step drops a prime.
    fn drops(&self) -> Vec<bool> {
        self.descents.iter().map(|&descent| descent == Descent::Drop).collect()
    }

    /// Whether slots, rotations and levels are such as a plan may have.
    fn check(&self) -> Result<()> {
        let arrangement = &self.interface.arrangement;
        let whole = |x: f64| x.fract() == 0.0 && x.abs() < 2f64.powi(126);
        check_steps(&self.steps, &self.tensors, arrangement.parameters.degree() / 2, whole)?;
        ensure(self.steps.len() == self.descents.len(), "it does not say of each step whether it drops a prime")?;
        let mut steps = self.steps.iter().zip(&self.descents);
        let drops = |(step, &descent)| matches!(step, &Step::Sum { .. }) && descent == Descent::Drop;
        ensure(!steps.any(drops), "a sum drops a prime")?;
        let data = arrangement.parameters.data_moduli().len();
        let dropped = self.drops().into_iter().filter(|&drops| drops).count();
        ensure(dropped < data, "its steps drop more primes than it has")?;
        ensure(self.interface.reply <= data - dropped, "its reply has more primes than are left")?;
        let (rotations, relinearization) = keys(&self.steps, &levels(data, &self.descents));
        let keys = rotations == arrangement.rotations && relinearization == arrangement.relinearization;
        ensure(keys, "its steps use other keys than it asks for")
    }
}

impl ExactInterface {
    /// The client's file: everything but the weights.
    pub fn to_bytes(&self) -> Vec<u8> {
        seal(Kind::ExactClient, self)
    }

    /// A client's part from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed), [`Error::TooLarge`](crate::Error::TooLarge), and errors of the
    /// parameters.
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let interface: Self = open(Kind::ExactClient, bytes, limit)?;
        interface.check()?;
        Ok(interface)
    }
}

/// What tells a program from others.
pub(super) fn identity(plan: &ExactPlan) -> Identity {
    let mut unnamed = plan.interface.clone();
    unnamed.arrangement.program = Identity::default();
    envelope::identity(&(unnamed, &plan.steps, plan.drops()))
}
