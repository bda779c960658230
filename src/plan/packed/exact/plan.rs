//! A packed BFV program as data: what the client puts where, what the server does, where the answer is.

use super::explain;
use super::file;
use super::interface::ExactInterface;
use super::modulus::{self, ExactModuli};
use super::noise::{Forecast, Terms};
use super::quantised::Quantised;
use super::reach::out_of_reach;
use crate::error::{Error, Result};
use crate::evaluator::packed::Descent;
use crate::plan::NormalForm;
use crate::plan::packed::arrangement::Arrangement;
use crate::plan::packed::placement::Slots;
use crate::plan::packed::plan::{DEGREES, Step, Tensor, keys, squares, steps, typical};
use crate::plan::packed::search::{Chain, KEY_ROWS_A_SECOND, search};
use crate::scheme::Parameters;

/// What to aim for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExactOptions {
    /// bits of security: 128, 192 or 256
    pub security: u32,
    /// bits of precision that rounding to integers leaves to every value, relative to the largest of its layer
    pub precision: u32,
    /// images in each row of slots, a power of two: a run takes twice as many
    pub images: usize,
}

impl Default for ExactOptions {
    fn default() -> Self {
        Self { security: 128, precision: 8, images: 1 }
    }
}

/// A packed BFV program as data.
#[derive(Debug, Clone, PartialEq)]
pub struct ExactPlan {
    /// the client's part
    pub interface: ExactInterface,
    /// the server's part; weights and biases are integers
    pub steps: Vec<Step>,
    /// whether each step drops a prime
    pub descents: Vec<Descent>,
    /// the input and what each affine map gives, for people
    pub tensors: Vec<Tensor>,
}

/// A plan that might be taken.
struct Candidate {
    seconds: f64,
    moduli: ExactModuli,
    chain: Chain,
    steps: Vec<Step>,
}

impl ExactPlan {
    /// Squares one after the other.
    pub fn squares(&self) -> usize {
        squares(&self.steps)
    }

    /// Plans a network: integers, placements, rotations, primes, plaintext moduli. `images` are flattened examples.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for unusable options, [`Error::OutOfReach`] for networks that no secure ring has room for;
    /// it says what would fit. Errors of [`Quantised::new`].
    pub fn new(network: &NormalForm, images: &[f64], options: ExactOptions) -> Result<Self> {
        if !options.images.is_power_of_two() {
            let reason = format!("{} images in a row of slots; choose a power of two", options.images);
            return Err(Error::InvalidArgument { name: "images", reason });
        }
        let integers = match Quantised::new(network, images, options.precision) {
            Err(Error::ScaleOutOfRange { .. }) => return Err(out_of_reach(network, images, None, options)),
            integers => integers?,
        };
        let least = outline(integers.maps.len());
        let mut best: Option<Candidate> = None;
        for degree in DEGREES {
            // Without its rotations a network has room wherever it has with them.
            if modulus::choices(degree, &least, integers.bound, options.security)?.is_empty() {
                continue;
            }
            let Some(candidate) = candidate(degree, &integers, options)? else { continue };
            // A larger ring has room for better placements and longer plaintext moduli; it seldom pays, and then for one step up.
            let found = best.is_some();
            if best.as_ref().is_none_or(|best| candidate.seconds < best.seconds) {
                best = Some(candidate);
            }
            if found {
                break;
            }
        }
        let Some(best) = best else { return Err(out_of_reach(network, images, Some(&integers), options)) };
        assemble(network, &integers, best, options)
    }

    /// Data primes at the start of each step.
    pub fn levels(&self) -> Vec<usize> {
        levels(self.interface.arrangement.parameters.data_moduli().len(), &self.descents)
    }

    /// How the noise grows.
    pub fn forecast(&self) -> Forecast {
        let interface = &self.interface;
        let (parameters, terms) =
            (&interface.arrangement.parameters, self.steps.iter().map(Terms::from).collect::<Vec<_>>());
        ExactModuli::ring(parameters.degree(), parameters.moduli(), &interface.plain_moduli).forecast(&terms)
    }
}

/// Data primes at the start of each step.
pub(super) fn levels(data: usize, descents: &[Descent]) -> Vec<usize> {
    let start = |level: &mut usize, descent: &Descent| {
        let own = *level;
        *level = level.saturating_sub(usize::from(*descent == Descent::Drop));
        Some(own)
    };
    descents.iter().scan(data, start).collect()
}

/// Affine maps with squares between them, each of one product.
fn outline(maps: usize) -> Vec<Terms> {
    let map = Terms::Linear { still: 1, rotated: 0, giants: 0 };
    (0..2 * maps - 1).map(|i| if i % 2 == 0 { map.clone() } else { Terms::Square }).collect()
}

/// The fastest plan in a ring, if it has room.
fn candidate(degree: usize, integers: &Quantised, options: ExactOptions) -> Result<Option<Candidate>> {
    let slots = Slots { count: degree / 2 / options.images, cyclic: options.images == 1 };
    // Every map and square may use up a prime, as in CKKS; the chain hardly depends on how many there are.
    let Ok(chain) = search(&integers.maps, slots, 2 * integers.maps.len(), typical(degree)) else { return Ok(None) };
    let steps = steps(&chain, degree / 2, options.images);
    let terms: Vec<Terms> = steps.iter().map(Terms::from).collect();
    let seconds = |moduli: &ExactModuli| {
        let levels = levels(moduli.moduli.len() - 1, &moduli.forecast.descents);
        let (rotations, relinearization) = keys(&steps, &levels);
        let key_rows: usize = rotations.into_values().chain(relinearization).map(|primes| primes * (primes + 1)).sum();
        let work = steps.iter().zip(levels).map(|(step, level)| explain::seconds(step, level, typical(degree)));
        work.sum::<f64>() * moduli.plain_moduli.len() as f64 + key_rows as f64 / KEY_ROWS_A_SECOND
    };
    let choices = modulus::choices(degree, &terms, integers.bound, options.security)?;
    let best = choices.into_iter().map(|moduli| (seconds(&moduli), moduli)).min_by(|a, b| a.0.total_cmp(&b.0));
    Ok(best.map(|(seconds, moduli)| Candidate { seconds, moduli, chain, steps }))
}

fn assemble(network: &NormalForm, integers: &Quantised, best: Candidate, options: ExactOptions) -> Result<ExactPlan> {
    let Candidate { moduli, chain, steps, .. } = best;
    let plain_modulus = moduli.plain_moduli.first().copied().unwrap_or_default();
    let parameters = Parameters::bfv(moduli.degree, moduli.moduli, true, plain_modulus)?;
    parameters.check_security(options.security)?;
    let (rotations, relinearization) = keys(&steps, &levels(parameters.data_moduli().len(), &moduli.forecast.descents));
    let arrangement = Arrangement::new(network, &chain, parameters, options.security, 2 * options.images);
    let mut plan = ExactPlan {
        interface: ExactInterface {
            arrangement: Arrangement { rotations, relinearization, ..arrangement },
            plain_moduli: moduli.plain_moduli,
            input_scale: integers.input_scale,
            output_scale: integers.output_scale,
            reply: moduli.forecast.reply,
        },
        steps,
        descents: moduli.forecast.descents,
        tensors: Tensor::of_chain(&chain, network.layers()),
    };
    plan.interface.arrangement.program = file::identity(&plan);
    Ok(plan)
}
