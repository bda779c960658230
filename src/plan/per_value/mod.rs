//! The per-value layout: one value of one image in a ciphertext, as in the paper and in PyCrCNN.
//!
//! BFV with fractional encoding: images are encrypted pixel by pixel, weights are encoded numbers.
//! What a layer gives stays in NTT form for the next. [`Fidelity::Fused`] does two things more that
//! change the cost and the noise, but not what is computed: affine neighbours become one map, and
//! where a square is followed by sums of equal weights (average pooling), the squares are summed
//! before the division that makes ciphertexts of them, one division a sum; the weight goes into the
//! next map.

mod recipe;

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::encoding::FractionalEncoder;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::evaluator::encoded::{EncodedMap, SparsePolynomial};
use crate::evaluator::extended::MIN_TERMS;
use crate::network::{Activation, AffineMap, Layer, Network, Operation};
use crate::plan::digit_mask::DigitMask;
use crate::plan::reply::Rerandomizer;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form};

pub use recipe::{Digits, Interface, Recipe};

/// A square turns k polynomials into 2 k - 1: 2, 3, 5, 9, and 17 is more than [`Ciphertext::SIZES`] has.
const MAX_SQUARES: usize = 3;

/// Whether a program computes layer by layer or fuses what it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fidelity {
    /// every layer on its own, its result a tensor of ciphertexts: what PyCrCNN computes
    Layers,
    /// affine neighbours fused, pooled squares summed before they are scaled
    Fused,
}

/// A network compiled for the per-value layout.
#[derive(Debug)]
pub struct PerValueProgram {
    evaluator: Arc<Evaluator>,
    computed: Network,
    mask: DigitMask,
    steps: Vec<Step>,
}

/// One pass over all ciphertexts.
#[derive(Debug)]
struct Step {
    /// the layers that it computes
    name: String,
    kernel: StepKernel,
}

#[derive(Debug)]
enum StepKernel {
    Map(EncodedMap),
    Square,
    /// sums of squares: the inputs of each output
    SquareSums(Vec<Vec<u32>>),
}

/// A step before its weights are encoded.
enum Draft {
    Map(AffineMap),
    Square,
    /// sums of squares, by a map whose weights are 1
    SquareSums(AffineMap),
}

impl PerValueProgram {
    /// Compiles a network of affine maps and squares. Digits of answers that are re-randomised are hidden beside some of
    /// up to `largest_digit`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for activations other than the square, for more than 3 of them and for residual blocks,
    /// [`Error::Unencodable`] for weights that the encoding cannot hold, and what the affine maps refuse.
    pub fn compile(
        evaluator: Arc<Evaluator>,
        encoder: &FractionalEncoder,
        network: &Network,
        fidelity: Fidelity,
        largest_digit: u64,
    ) -> Result<Self> {
        let mut drafts = drafts(network, fidelity)?;
        let computed = computed(network, &drafts)?;
        let encode = |value: f64| sparse(encoder.digits(value));
        drafts.retain(|(_, draft)| !matches!(draft, Draft::Map(map) if map.is_identity()));
        let steps = drafts
            .into_iter()
            .map(|(name, draft)| {
                let kernel = match draft {
                    Draft::Map(map) => StepKernel::Map(encode_map(evaluator.context(), &map, encode, encode)?),
                    Draft::Square => StepKernel::Square,
                    Draft::SquareSums(sums) => {
                        StepKernel::SquareSums(sums.rows().map(|(columns, _)| columns.to_vec()).collect())
                    }
                };
                Ok(Step { name, kernel })
            })
            .collect::<Result<_>>()?;
        Ok(Self { evaluator, computed, mask: DigitMask::new(encoder.clone(), largest_digit), steps })
    }

    /// The context that images are encrypted in.
    pub fn context(&self) -> &Arc<Context> {
        self.evaluator.context()
    }

    /// The number of ciphertexts of one image.
    pub fn inputs(&self) -> usize {
        self.computed.inputs()
    }

    /// The network as it is computed, with fused maps where layers are joined: what a
    /// [`Simulator`](crate::network::Simulator) has to run to predict the digits. Each step has a layer of its name.
    pub fn computed_network(&self) -> &Network {
        &self.computed
    }

    /// How many squares a ciphertext goes through.
    pub fn squares(&self) -> usize {
        self.steps.iter().filter(|step| !matches!(step.kernel, StepKernel::Map(_))).count()
    }

    /// Words that the ciphertexts of a run take at the most, those of the image among them: what a step gets, in both forms,
    /// and what it makes.
    pub fn largest_words(&self) -> usize {
        let context = self.context();
        let polynomial = context.data_primes() * context.degree();
        let (mut values, mut size, mut largest) = (self.inputs(), 2, 3 * self.inputs());
        for (i, step) in self.steps.iter().enumerate() {
            let own = values * size * if i == 0 { 2 } else { 1 };
            (values, size) = match &step.kernel {
                StepKernel::Map(map) => (map.outputs(), size),
                StepKernel::Square => (values, 2 * size - 1),
                StepKernel::SquareSums(groups) => (groups.len(), 2 * size - 1),
            };
            largest = largest.max(own + values * size);
        }
        largest * polynomial
    }

    /// The names of the steps, each with the layers that it computes.
    pub fn step_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.steps.iter().map(|step| step.name.as_str())
    }

    /// The bits by which re-randomised answers hide their digits; see [`DigitMask`].
    pub fn mask_bits(&self) -> f64 {
        self.mask.bits()
    }

    /// Answers that tell nothing of the weights but what they answer, on the rayon pool of the caller; see
    /// [`reply`](crate::plan::reply).
    ///
    /// # Errors
    /// Those of [`Rerandomizer::bfv`].
    pub fn rerandomize(
        &self,
        answers: &[Ciphertext],
        key: &Rerandomizer,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        key.bfv(&self.evaluator, answers, Some(&self.mask), cancellation)
    }

    /// Evaluates one image on the rayon pool of the caller; the answer is in coefficient form.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`], [`Error::ParametersMismatch`], [`Error::OperandMismatch`],
    /// [`Error::Unsupported`] for more squares than a ciphertext can grow by, [`Error::Interrupted`].
    pub fn run(&self, image: &[&Ciphertext], cancellation: &Cancellation) -> Result<Vec<Ciphertext>> {
        self.run_observed(image, cancellation, |_, _| Ok(()))
    }

    /// [`run`](Self::run), showing the ciphertexts after each step, with the step's name, to `observe`.
    ///
    /// # Errors
    /// As [`run`](Self::run), and those of `observe`.
    pub fn run_observed(
        &self,
        image: &[&Ciphertext],
        cancellation: &Cancellation,
        mut observe: impl FnMut(&str, &[Ciphertext]) -> Result<()>,
    ) -> Result<Vec<Ciphertext>> {
        if image.len() != self.inputs() {
            return Err(Error::ShapeMismatch {
                operation: "per-value program",
                expected: format!("{} ciphertexts, one for each value of one image", self.inputs()),
                got: vec![image.len()],
            });
        }
        let mut values: Vec<Ciphertext> = Vec::new();
        for (i, step) in self.steps.iter().enumerate() {
            let borrowed: Vec<&Ciphertext> = if i == 0 { image.to_vec() } else { values.iter().collect() };
            let next = match &step.kernel {
                StepKernel::Map(map) => map.apply(&borrowed, cancellation)?,
                StepKernel::Square => {
                    self.square_sums(&borrowed, (0..borrowed.len()).map(|i| vec![i as u32]), cancellation)?
                }
                StepKernel::SquareSums(groups) => self.square_sums(&borrowed, groups.iter().cloned(), cancellation)?,
            };
            values = next;
            observe(&step.name, &values)?;
        }
        if self.steps.is_empty() {
            return Ok(image.iter().map(|&value| value.clone()).collect());
        }
        values.into_par_iter().map(|value| self.evaluator.to_coefficients(&value)).collect()
    }

    /// One sum of squares for each group of inputs, in NTT form.
    fn square_sums(
        &self,
        inputs: &[&Ciphertext],
        groups: impl Iterator<Item = Vec<u32>>,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        let groups: Vec<Vec<u32>> = groups.collect();
        groups
            .into_par_iter()
            .map(|group| {
                cancellation.check()?;
                let mut members = group.iter().map(|&i| self.evaluator.lift(inputs[i as usize]));
                let Some(first) = members.next() else {
                    let (size, primes) = inputs.first().map_or((3, 1), |input| (2 * input.size() - 1, input.primes()));
                    return Ok(Ciphertext::zero(self.evaluator.context(), size, primes, Form::Ntt, 1.0));
                };
                let mut sum = self.evaluator.tensor_square(&first?)?;
                for member in members {
                    self.evaluator.add_square(&mut sum, &member?, 1)?;
                }
                self.evaluator.scale_down(sum, Form::Ntt)
            })
            .collect()
    }
}

/// The steps of a network.
fn drafts(network: &Network, fidelity: Fidelity) -> Result<Vec<(String, Draft)>> {
    let drafts = network.layers().iter().map(draft).collect::<Result<Vec<_>>>()?;
    let squares = drafts.iter().filter(|(_, draft)| matches!(draft, Draft::Square)).count();
    if squares > MAX_SQUARES {
        return Err(Error::Unsupported {
            operation: "compiling for the per-value layout",
            reason: format!(
                "{squares} squares, unrelinearised, need ciphertexts of more than {} polynomials; use a network with at \
                 most {MAX_SQUARES}",
                Ciphertext::SIZES.end()
            ),
        });
    }
    match fidelity {
        Fidelity::Layers => Ok(drafts),
        Fidelity::Fused => fuse_maps(sum_squares(drafts)?),
    }
}

/// The network that steps compute.
fn computed(network: &Network, drafts: &[(String, Draft)]) -> Result<Network> {
    let layers = drafts.iter().flat_map(|(name, draft)| computed_layers(name, draft)).collect();
    Network::new(network.input_shape(), layers)
}

/// The layers that a step stands for; the last has the step's name.
fn computed_layers(name: &str, draft: &Draft) -> Vec<Layer> {
    match draft {
        Draft::Map(map) => vec![Layer::affine(name, map.clone())],
        Draft::Square => vec![Layer::activation(name, Activation::Square)],
        Draft::SquareSums(sums) => {
            vec![Layer::activation(format!("{name} squares"), Activation::Square), Layer::affine(name, sums.clone())]
        }
    }
}

fn draft(layer: &Layer) -> Result<(String, Draft)> {
    let draft = match &layer.operation {
        Operation::Affine(map) => Draft::Map(map.clone()),
        Operation::Activation(Activation::Square) => Draft::Square,
        Operation::Activation(Activation::Polynomial(_)) => return Err(unsupported(&layer.name, "polynomial")),
        Operation::Residual { .. } => return Err(unsupported(&layer.name, "residual block")),
    };
    Ok((layer.name.clone(), draft))
}

fn unsupported(layer: &str, kind: &str) -> Error {
    Error::Unsupported {
        operation: "compiling for the per-value layout",
        reason: format!(
            "layer {layer} is a {kind}, and this layout takes squares only; use the batched or packed layout"
        ),
    }
}

/// Joins each square with the sums of equal weights that follow it, where a sum of products has room for them.
fn sum_squares(drafts: Vec<(String, Draft)>) -> Result<Vec<(String, Draft)>> {
    let mut joined: Vec<(String, Draft)> = Vec::with_capacity(drafts.len());
    // the polynomials of a ciphertext before the last square and now
    let (mut squared, mut size) = (2, 2);
    for (name, draft) in drafts {
        if let Draft::Square = draft {
            (squared, size) = (size, 2 * size - 1);
        }
        if let (Draft::Map(map), Some((before, square @ Draft::Square))) = (&draft, joined.last_mut()) {
            let (sums, factor) = map.clone().into_sum_and_factor();
            let used_once = sums.nonzeros() <= sums.inputs();
            let fit = sums.rows().all(|(columns, _)| columns.len() as u64 * squared <= MIN_TERMS);
            if factor != 1.0 && used_once && fit {
                *square = Draft::SquareSums(sums);
                *before = format!("{before}+{name}");
                joined.push((format!("{name} factor"), Draft::Map(AffineMap::scale(map.output_shape(), factor)?)));
                continue;
            }
        }
        joined.push((name, draft));
    }
    Ok(joined)
}

/// Multiplies neighbouring maps.
fn fuse_maps(drafts: Vec<(String, Draft)>) -> Result<Vec<(String, Draft)>> {
    let mut fused: Vec<(String, Draft)> = Vec::with_capacity(drafts.len());
    for (name, draft) in drafts {
        if let (Draft::Map(map), Some((before, Draft::Map(last)))) = (&draft, fused.last_mut()) {
            *last = last.fuse(map)?;
            *before = format!("{before}+{name}");
        } else {
            fused.push((name, draft));
        }
    }
    Ok(fused)
}

/// Encodes the distinct weights and biases of a map.
pub(super) fn encode_map(
    context: &Arc<Context>,
    map: &AffineMap,
    weight: impl Fn(f64) -> Result<SparsePolynomial>,
    bias: impl Fn(f64) -> Result<SparsePolynomial>,
) -> Result<EncodedMap> {
    let (weights, entries) = map.distinct_weights();
    let weights = weights.into_iter().map(weight).collect::<Result<Vec<_>>>()?;
    let (biases, bias_of) = distinct(map.bias());
    let biases = biases.into_iter().map(bias).collect::<Result<Vec<_>>>()?;
    EncodedMap::new(context, map.inputs(), map.offsets(), map.columns().to_vec(), entries, &weights, biases, bias_of)
}

/// The digits of a number, or why there are none, as a polynomial.
pub(super) fn sparse(digits: Result<Vec<(usize, i64)>>) -> Result<SparsePolynomial> {
    let terms = digits?.into_iter().map(|(exponent, digit)| (exponent as u32, digit)).collect();
    Ok(SparsePolynomial { terms })
}

/// Distinct values in order of appearance, and for each value its place among them.
pub(super) fn distinct(values: &[f64]) -> (Vec<f64>, Vec<u32>) {
    let (mut table, mut places) = (Vec::new(), HashMap::new());
    let places = values
        .iter()
        .map(|&value| {
            *places.entry(value.to_bits()).or_insert_with(|| {
                table.push(value);
                table.len() as u32 - 1
            })
        })
        .collect();
    (table, places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::{Decryptor, SymmetricEncryptor};
    use crate::network::{Conv2d, Pool2d};
    use crate::ring::primes;
    use crate::scheme::Parameters;
    use crate::seal::SealSession;

    /// Convolution, square, pooling, two fully connected layers on 6 x 6 images.
    fn network() -> Network {
        let numbers = |count: usize, phase: f64| -> Vec<f64> {
            (0..count).map(|i| (i as f64 * 0.7 + phase).sin() / 2.0).collect()
        };
        let (weights, bias) = (numbers(2 * 4, 0.1), numbers(2, 0.5));
        let convolution = Conv2d { bias: Some(&bias), stride: [2, 2], ..Conv2d::new(&weights, [2, 1, 2, 2]) };
        let convolution = AffineMap::conv2d([1, 6, 6], &convolution).unwrap();
        let pool = Pool2d { kernel: [3, 3], stride: [3, 3], padding: [0, 0] };
        Network::new(
            &[1, 6, 6],
            vec![
                Layer::affine("convolution", convolution),
                Layer::activation("square", Activation::Square),
                Layer::affine("pool", AffineMap::avg_pool2d([2, 3, 3], &pool).unwrap()),
                Layer::affine("flatten", AffineMap::flatten(&[2, 1, 1]).unwrap()),
                Layer::affine("first", AffineMap::linear(&numbers(6, 0.2), [3, 2], Some(&numbers(3, 0.9))).unwrap()),
                Layer::affine("second", AffineMap::linear(&numbers(6, 0.4), [2, 3], None).unwrap()),
            ],
        )
        .unwrap()
    }

    #[test]
    fn sums_of_more_squares_than_a_product_has_room_for_stay_apart() {
        let pooled = |side: usize| {
            let pool = Pool2d { kernel: [side, side], stride: [side, side], padding: [0, 0] };
            let pool = AffineMap::avg_pool2d([1, side, side], &pool).unwrap();
            let layers = vec![
                Layer::activation("square", Activation::Square),
                Layer::affine("pool", pool.clone()),
                Layer::activation("again", Activation::Square),
            ];
            Network::new(&[1, side, side], layers).unwrap()
        };
        let moduli = primes::bfv_default(1024, 128).unwrap().to_vec();
        let context = Context::new(Parameters::bfv(1024, moduli, false, 257).unwrap()).unwrap();
        let encoder = FractionalEncoder::new(1024, 257, 2, 64, 32).unwrap();
        let evaluator = Arc::new(Evaluator::new(context.clone()));
        let names = |side| {
            let program =
                PerValueProgram::compile(evaluator.clone(), &encoder, &pooled(side), Fidelity::Fused, 0).unwrap();
            program.step_names().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(names(22), ["square+pool", "pool factor", "again"]);
        assert_eq!(names(23), ["square", "pool", "again"]);
        let program = PerValueProgram::compile(evaluator.clone(), &encoder, &pooled(23), Fidelity::Fused, 0).unwrap();
        let image = Ciphertext::zero(&context, 2, 1, Form::Coefficient, 1.0);
        assert_eq!(program.run(&[&image; 23 * 23], &Cancellation::new()).unwrap().len(), 1);
    }

    #[test]
    fn encrypted_answers_are_the_clear_ones_layer_by_layer_and_fused() {
        let moduli = primes::bfv_default(4096, 128).unwrap().to_vec();
        let t = 100_000_007;
        let context = Context::new(Parameters::bfv(4096, moduli, false, t).unwrap()).unwrap();
        let (secret, _) = SealSession::new(&context).unwrap().generate_keys().unwrap();
        let encoder = FractionalEncoder::new(4096, t, 2, 64, 32).unwrap();
        let (encryptor, decryptor) = (
            SymmetricEncryptor::new(context.clone(), &secret).unwrap(),
            Decryptor::new(context.clone(), &secret).unwrap(),
        );
        let network = network();
        let image: Vec<f64> = (0..36).map(|i| (i as f64 * 0.31).cos()).collect();
        let expected = network.evaluate(&image).unwrap();
        let encrypted: Vec<Ciphertext> =
            image.iter().map(|&x| encryptor.encrypt(&encoder.encode(x).unwrap(), None).unwrap()).collect();
        let encrypted: Vec<&Ciphertext> = encrypted.iter().collect();
        let evaluator = Arc::new(Evaluator::new(context));
        for (fidelity, names) in [
            (Fidelity::Layers, vec!["convolution", "square", "pool", "first", "second"]),
            (Fidelity::Fused, vec!["convolution", "square+pool", "pool factor+flatten+first+second"]),
        ] {
            let program = PerValueProgram::compile(evaluator.clone(), &encoder, &network, fidelity, 0).unwrap();
            assert_eq!(program.step_names().collect::<Vec<_>>(), names);
            let mut budgets = Vec::new();
            let answers = program
                .run_observed(&encrypted, &Cancellation::new(), |_, values| {
                    budgets.push(
                        values.iter().map(|v| decryptor.noise_budget(v)).collect::<Result<Vec<_>>>()?.into_iter().min(),
                    );
                    Ok(())
                })
                .unwrap();
            assert_eq!(budgets.len(), names.len());
            assert!(budgets.is_sorted_by(|a, b| a >= b) && *budgets.last().unwrap() > Some(0), "{budgets:?}");
            for (answer, expected) in answers.iter().zip(&expected) {
                let value = encoder.decode(&decryptor.decrypt(answer).unwrap()).unwrap();
                assert!((value - expected).abs() < 1e-3, "{value} {expected}");
            }
        }
    }
}
