//! What a packed BFV program answers, in clear: its steps on residues, which is what the encrypted ones compute.

use super::plan::ExactPlan;
use super::program::residue;
use crate::error::Result;
use crate::plan::packed::plan::Step;
use crate::ring::Modulus;

impl ExactPlan {
    /// Answers to images (`[n][inputs]`, flattened): those of encryption, digit for digit.
    ///
    /// # Errors
    /// As [`slots_of`](super::ExactInterface::slots_of) and [`answers_in`](super::ExactInterface::answers_in), for each
    /// group of images that share a run.
    pub fn simulate(&self, images: &[f64]) -> Result<Vec<f64>> {
        let interface = &self.interface;
        let inputs = interface.arrangement.input.len();
        let mut answers = Vec::new();
        for group in images.chunks(inputs * interface.arrangement.images) {
            let slots = interface.slots_of(group)?;
            let slots = slots.into_iter().zip(&interface.plain_moduli).map(|(slots, &t)| self.trace(slots, t));
            answers.extend(interface.answers_in(&slots.collect::<Result<Vec<_>>>()?, group.len() / inputs)?);
        }
        Ok(answers)
    }

    /// The slots after the last step, modulo one plaintext modulus.
    fn trace(&self, slots: Vec<u64>, t: u64) -> Result<Vec<u64>> {
        let modulus = Modulus::new(t)?;
        let row = slots.len() / 2;
        let mut values = slots;
        for step in &self.steps {
            values = match step {
                Step::Sum { rotations } => {
                    let rotated = |i: usize| {
                        let first = i / row * row;
                        let turned = rotations.iter().map(|rotation| values[first + (i + rotation) % row]);
                        turned.fold(0, |sum, value| modulus.add(sum, value))
                    };
                    (0..2 * row).map(rotated).collect()
                }
                Step::Square => values.iter().map(|&value| modulus.mul(value, value)).collect(),
                Step::Linear { groups, bias } => {
                    let mut out = vec![0; 2 * row];
                    for group in groups {
                        for (baby, entries) in &group.diagonals {
                            for entry in entries {
                                let (at, weight) = (entry.slot as usize, residue(entry.weight, t));
                                let (to, from) = ((at + row - group.giant) % row, (at + baby) % row);
                                for first in [0, row] {
                                    let product = modulus.mul(weight, values[first + from]);
                                    out[first + to] = modulus.add(out[first + to], product);
                                }
                            }
                        }
                    }
                    for entry in bias {
                        for at in [entry.slot as usize, row + entry.slot as usize] {
                            out[at] = modulus.add(out[at], residue(entry.weight, t));
                        }
                    }
                    out
                }
            };
        }
        Ok(values)
    }
}
