//! A packed program as data: what the client puts where, what the server does, where the answer is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::arrangement::Arrangement;
use super::cost::Rates;
use super::file;
use super::interface::Interface;
use super::matching::Entry;
use super::modulus::{self, ModulusChoice};
use super::placement::{Placement, Slots};
use super::reach::out_of_reach;
use super::search::{Chain, Passage, search};
use crate::error::{Error, Result};
use crate::network::AffineMap;
use crate::plan::NormalForm;
use crate::scheme::Parameters;

/// What to aim for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PackedOptions {
    /// bits of security: 128, 192 or 256
    pub security: u32,
    /// bits of precision of every value, relative to the largest of its layer
    pub precision: u32,
    /// images in one ciphertext, a power of two
    pub images: usize,
}

impl Default for PackedOptions {
    fn default() -> Self {
        Self { security: 128, precision: 12, images: 1 }
    }
}

/// Diagonals that share a giant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiagonalGroup {
    /// the rotation of the group's sum
    pub giant: usize,
    /// baby rotations and the weights at each slot
    pub diagonals: Vec<(usize, Vec<Entry>)>,
}

/// One step of the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// the sum of rotations of a ciphertext: copies of values, or partial sums added up
    Sum {
        /// rotations, 0 among them
        rotations: Vec<usize>,
    },
    /// an affine map, rescaled
    Linear {
        /// the weights
        groups: Vec<DiagonalGroup>,
        /// the biases
        bias: Vec<Entry>,
    },
    /// a square, relinearised and rescaled
    Square,
}

impl Step {
    /// The rotations that it takes, 0 among them.
    pub fn rotations(&self) -> impl Iterator<Item = usize> {
        let (sum, groups): (&[usize], &[DiagonalGroup]) = match self {
            Self::Sum { rotations } => (rotations, &[]),
            Self::Linear { groups, .. } => (&[], groups),
            Self::Square => (&[], &[]),
        };
        let babies = groups.iter().flat_map(|group| &group.diagonals).map(|(baby, _)| *baby);
        sum.iter().copied().chain(groups.iter().map(|group| group.giant)).chain(babies)
    }

    /// Its weights and biases.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let (groups, bias): (&[DiagonalGroup], &[Entry]) = match self {
            Self::Linear { groups, bias } => (groups, bias),
            Self::Sum { .. } | Self::Square => (&[], &[]),
        };
        groups.iter().flat_map(|group| &group.diagonals).flat_map(|(_, weights)| weights).chain(bias)
    }
}

/// A packed program as data.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// the client's part
    pub interface: Interface,
    /// the server's part
    pub steps: Vec<Step>,
    /// the input and what each affine map gives, for people
    pub tensors: Vec<Tensor>,
}

/// The input, or what an affine map gives, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tensor {
    /// the layers that the map computes, by name; nothing for the input
    pub layers: String,
    /// how many values it has
    pub values: usize,
    /// where they lie
    pub layout: String,
}

impl Tensor {
    fn new(layers: &str, placement: &Placement) -> Self {
        Self { layers: layers.into(), values: placement.positions.len(), layout: placement.to_string() }
    }

    /// The tensors along a chain of placements whose maps compute `layers`.
    pub(super) fn of_chain(chain: &Chain, layers: &[String]) -> Vec<Self> {
        let outputs = chain.passages.iter().zip(layers);
        [Self::new("", &chain.input)].into_iter().chain(outputs.map(|(p, name)| Self::new(name, &p.output))).collect()
    }
}

/// Degrees that are tried, smallest first.
pub(super) const DEGREES: [usize; 5] = [2048, 4096, 8192, 16384, 32768];

/// Seconds that operations take at N = 8192, roughly: the search needs their ratios only.
const TYPICAL: Rates = Rates { transform: 14e-6, row: 1.5e-6, key: 6e-6, weight: 4e-6 };

impl Plan {
    /// Plans a network: placements, rotations, levels, parameters.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for unusable options, [`Error::Unsupported`] for values beyond double precision,
    /// [`Error::OutOfReach`] for networks that no secure ring has room for; it says what would fit.
    pub fn new(network: &NormalForm, options: PackedOptions) -> Result<Self> {
        if !options.images.is_power_of_two() {
            let reason = format!("{} images in a ciphertext; choose a power of two", options.images);
            return Err(Error::InvalidArgument { name: "images", reason });
        }
        if network.ranges().iter().chain([&network.input_range()]).any(|range| !(0.0..1e100).contains(range)) {
            let reason = "the network's values outgrow double precision; scale the images or the weights down".into();
            return Err(Error::Unsupported { operation: "compiling for the packed layout", reason });
        }
        let divisions = 2 * network.maps().len() - 1;
        let ranges = [network.input_range()].into_iter().chain(network.ranges().iter().copied());
        let factors: Vec<f64> = ranges.map(reciprocal).collect();
        let maps: Vec<AffineMap> = network
            .maps()
            .iter()
            .enumerate()
            .map(|(i, map)| normalised(map, if i == 0 { factors[0] } else { factors[i].powi(2) }, factors[i + 1]))
            .collect::<Result<_>>()?;
        let mut best: Option<(f64, ModulusChoice, Chain)> = None;
        for degree in DEGREES {
            let Some(choice) = modulus::choose(degree, divisions, options)? else { continue };
            let slots = Slots { count: degree / 2 / options.images, cyclic: options.images == 1 };
            let rates = typical(degree);
            let Ok(chain) = search(&maps, slots, choice.moduli.len() - 1, rates) else { continue };
            // A larger ring has room for better placements; it seldom pays, and then for one step up.
            match &best {
                Some((seconds, ..)) if chain.seconds >= *seconds => break,
                Some(_) => {
                    best = Some((chain.seconds, choice, chain));
                    break;
                }
                None => best = Some((chain.seconds, choice, chain)),
            }
        }
        let (_, choice, chain) = best.ok_or_else(|| out_of_reach(network, options))?;
        assemble(network, &chain, &choice, [factors[0], 1.0 / factors[maps.len()]], options)
    }

    /// Data primes at the start of each step.
    pub fn levels(&self) -> Vec<usize> {
        let mut primes = self.interface.arrangement.parameters.data_moduli().len();
        self.steps
            .iter()
            .map(|step| {
                let own = primes;
                primes -= usize::from(!matches!(step, Step::Sum { .. }));
                own
            })
            .collect()
    }
}

impl Plan {
    /// Squares one after the other.
    pub fn squares(&self) -> usize {
        squares(&self.steps)
    }

    /// How many primes a Galois key must serve, by rotation, and how many the relinearization key, where one is needed.
    pub fn keys(&self) -> (BTreeMap<usize, usize>, Option<usize>) {
        keys(&self.steps, &self.levels())
    }

    /// The scale after each step. A square leaves it a little off, as its prime is off; the weights of the next affine map
    /// bring it back, so that the drift does not double from square to square. The last map gives the scale of the answer.
    pub fn scales(&self) -> Vec<f64> {
        let mut scale = self.interface.input_scale;
        let last_prime = |level: usize| self.interface.arrangement.parameters.moduli()[level - 1] as f64;
        let last_map = self.steps.iter().rposition(|step| matches!(step, Step::Linear { .. }));
        self.steps
            .iter()
            .zip(self.levels())
            .enumerate()
            .map(|(i, (step, level))| {
                match step {
                    Step::Sum { .. } => {}
                    Step::Linear { .. } if Some(i) == last_map => scale = self.interface.output_scale,
                    Step::Linear { .. } => scale = self.interface.input_scale,
                    Step::Square => scale *= scale / last_prime(level),
                }
                scale
            })
            .collect()
    }
}

/// Squares among steps.
pub(super) fn squares(steps: &[Step]) -> usize {
    steps.iter().filter(|step| matches!(step, Step::Square)).count()
}

/// How many primes a Galois key must serve, by rotation, and how many the relinearization key, for steps at these levels.
pub(super) fn keys(steps: &[Step], levels: &[usize]) -> (BTreeMap<usize, usize>, Option<usize>) {
    let (mut rotations, mut relinearization) = (BTreeMap::new(), None);
    for (step, &level) in steps.iter().zip(levels) {
        if matches!(step, Step::Square) {
            relinearization = relinearization.max(Some(level));
        }
        for rotation in step.rotations().filter(|&rotation| rotation != 0) {
            let primes = rotations.entry(rotation).or_default();
            *primes = level.max(*primes);
        }
    }
    (rotations, relinearization)
}

/// The steps along a chain of placements, with squares between its passages, on rows of `slots` slots with `images` images.
pub(super) fn steps(chain: &Chain, slots: usize, images: usize) -> Vec<Step> {
    let builder = Builder { slots, images };
    let mut steps = Vec::new();
    for (i, passage) in chain.passages.iter().enumerate() {
        if i > 0 {
            steps.push(Step::Square);
        }
        builder.push(&mut steps, passage);
    }
    steps
}

/// Turns passages between placements into steps on all the slots of a ciphertext.
struct Builder {
    slots: usize,
    images: usize,
}

impl Builder {
    fn push(&self, steps: &mut Vec<Step>, passage: &Passage) {
        let sum = |rotations: &Vec<i64>| Step::Sum { rotations: rotations.iter().map(|&r| self.wrapped(r)).collect() };
        steps.extend(passage.copies.iter().map(sum));
        let group = |(&giant, babies): (&i64, &Vec<i64>)| DiagonalGroup {
            giant: self.wrapped(giant),
            diagonals: babies
                .iter()
                .map(|&baby| {
                    let entries = passage.diagonals.get(&(giant + baby)).map_or(&[][..], Vec::as_slice);
                    (self.wrapped(baby), self.everywhere(entries, giant))
                })
                .collect(),
        };
        let mut groups: Vec<DiagonalGroup> = passage.split.groups.iter().map(group).collect();
        if groups.is_empty() {
            // A map without weights: its outputs are its biases.
            groups.push(DiagonalGroup { giant: 0, diagonals: vec![(0, Vec::new())] });
        }
        steps.push(Step::Linear { groups, bias: self.everywhere(&passage.bias, 0) });
        steps.extend(passage.folds.iter().map(sum));
    }

    /// A rotation as SEAL counts it: to the left, from 0 up.
    fn wrapped(&self, rotation: i64) -> usize {
        rotation.rem_euclid(self.slots as i64) as usize
    }

    /// Entries of one image, moved by `offset`, for every image.
    fn everywhere(&self, entries: &[Entry], offset: i64) -> Vec<Entry> {
        let own = self.slots / self.images;
        let place = |image: usize, entry: &Entry| Entry {
            slot: self.wrapped((image * own) as i64 + i64::from(entry.slot) + offset) as u32,
            weight: entry.weight,
        };
        (0..self.images).flat_map(|image| entries.iter().map(move |entry| place(image, entry))).collect()
    }
}

/// Rates of a ring relative to one another.
pub fn typical(degree: usize) -> Rates {
    let (n, reference) = (degree as f64, 8192f64);
    let rates = TYPICAL.times(n / reference);
    Rates { transform: rates.transform * n.log2() / reference.log2(), ..rates }
}

/// The factor that brings a range to 1; ranges whose powers leave double precision stay as they are.
fn reciprocal(range: f64) -> f64 {
    if (1e-100..1e100).contains(&range) { 1.0 / range } else { 1.0 }
}

/// The map for inputs multiplied by `input` that gives outputs multiplied by `output`.
fn normalised(map: &AffineMap, input: f64, output: f64) -> Result<AffineMap> {
    let weights: Vec<f64> = map.weights().iter().map(|weight| weight * output / input).collect();
    let bias: Vec<f64> = map.bias().iter().map(|bias| bias * output).collect();
    AffineMap::new(map.input_shape(), map.output_shape(), map.offsets(), map.columns(), &weights, &bias)
}

fn assemble(
    network: &NormalForm,
    chain: &Chain,
    choice: &ModulusChoice,
    [input_factor, output_factor]: [f64; 2],
    options: PackedOptions,
) -> Result<Plan> {
    let parameters = Parameters::ckks(choice.degree, choice.moduli.clone(), true)?;
    parameters.check_security(options.security)?;
    let steps = steps(chain, choice.degree / 2, options.images);
    let input_scale = 2f64.powi(choice.scale_bits as i32);
    let mut plan = Plan {
        interface: Interface {
            arrangement: Arrangement::new(network, chain, parameters, options.security, options.images),
            input_factor,
            output_factor,
            input_scale,
            output_scale: 2f64.powi(choice.answer_bits as i32),
        },
        steps,
        tensors: Tensor::of_chain(chain, network.layers()),
    };
    let (rotations, relinearization) = plan.keys();
    plan.interface.arrangement = Arrangement { rotations, relinearization, ..plan.interface.arrangement };
    plan.interface.arrangement.program = file::identity(&plan);
    Ok(plan)
}
