//! The batched layout: one value of up to N/2 images in a ciphertext, CKKS with integer weights.
//!
//! A weight multiplies a whole ciphertext by one integer, so a network costs no rotation, no encoding
//! and no key: squares are left unrelinearised. Between two squares lies one affine map and, where the
//! scale has grown enough, a division by primes that brings it back down.

mod explain;
mod interface;
mod simulate;

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::NormalForm;
use super::envelope::{self, Kind};
use super::reply::Rerandomizer;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::evaluator::batched::{ScalarAffine, ScalarMatrix, Segment, Step};
use crate::network::{AffineMap, IntegerAffine};
use crate::ring::{Modulus, primes};
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Parameters, security};

pub use explain::{Explanation, StepReport};
pub use interface::Interface;

/// What to aim for when parameters are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BatchedOptions {
    /// bits of security: 128, 192 or 256
    pub security: u32,
    /// bits of precision of every value, relative to the largest of its layer
    pub precision: u32,
}

impl Default for BatchedOptions {
    fn default() -> Self {
        Self { security: 128, precision: 12 }
    }
}

/// A network compiled for the batched layout.
#[derive(Debug)]
pub struct BatchedProgram {
    evaluator: Arc<Evaluator>,
    interface: Interface,
    source: NormalForm,
    choice: Choice,
    options: BatchedOptions,
    stages: Vec<Stage>,
}

/// Steps without a division between them, and the division that follows.
#[derive(Debug)]
struct Stage {
    segment: Segment,
    /// the scale of the segment's outputs
    scale: f64,
    /// primes to divide by afterwards
    divisions: usize,
}

/// What the choice of parameters decides.
#[derive(Debug, Clone)]
struct Choice {
    degree: usize,
    /// the scale of images, as a power of two
    input_bits: u32,
    /// the scale of each map's weights
    weight_scales: Vec<f64>,
    /// sizes of the primes, those that stay to the end first
    primes: Vec<u32>,
    /// for each map but the first: primes to divide by after it
    divisions: Vec<usize>,
}

impl Choice {
    fn modulus_bits(&self) -> u32 {
        self.primes.iter().sum()
    }
}

/// Standard deviation of a fresh ciphertext's noise coefficients.
const FRESH_NOISE: f64 = 3.2;

/// Deviations that count as the largest of many.
const DEVIATIONS: f64 = 6.0;

/// The largest prime, in bits: the widest that every backend's fastest kernels take.
const PRIME_BITS: u32 = 50;

/// Bits by which results may exceed the ranges seen in calibration.
const HEADROOM_BITS: f64 = 2.0;

impl BatchedProgram {
    /// Compiles a network, choosing the smallest parameters.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for unusable options, [`Error::Unsupported`] for networks with more than 3 squares one after the other (a polynomial of degree d
    /// takes ceil(log2 d)), or whose modulus exceeds what the largest degree allows.
    pub fn compile(network: NormalForm, options: BatchedOptions) -> Result<Self> {
        let maps = network.maps();
        let choice = choose(maps, network.ranges(), options)?;
        let moduli = primes::create(choice.degree, &choice.primes)?;
        let parameters = Parameters::ckks(choice.degree, moduli, false)?;
        parameters.check_security(options.security)?;
        let context = Context::new(parameters)?;
        let input_scale = 2f64.powi(choice.input_bits as i32);
        let mut stages = Vec::new();
        let (mut scale, mut primes, mut values, mut steps) =
            (input_scale, context.data_primes(), maps[0].inputs(), Vec::new());
        for (i, map) in maps.iter().enumerate() {
            if i > 0 {
                steps.push(Step::Square);
                scale *= scale;
            }
            let integers = map.quantize(choice.weight_scales[i], scale)?;
            scale = integers.output_scale();
            steps.push(Step::Affine(scalar_affine(&integers, &context, primes)?));
            let divisions = if i == 0 { 0 } else { choice.divisions[i - 1] };
            if divisions > 0 || i + 1 == maps.len() {
                let segment = Segment::new(values, std::mem::take(&mut steps))?;
                values = segment.outputs();
                stages.push(Stage { segment, scale, divisions });
                for prime in primes - divisions..primes {
                    scale /= context.modulus(prime).value() as f64;
                }
                primes -= divisions;
            }
        }
        let interface = Interface {
            parameters: context.parameters().clone(),
            security: options.security,
            input_shape: network.input_shape().to_vec(),
            output_shape: network.output_shape().to_vec(),
            input_scale,
            program: envelope::identity(&(&network, options)),
        };
        Ok(Self { evaluator: Arc::new(Evaluator::new(context)), interface, source: network, choice, options, stages })
    }

    /// The program as a file, weights included.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope::seal(Kind::BatchedProgram, &(&self.source, self.options))
    }

    /// A program from its bytes, of which there may be `limit` once they are expanded.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], and those of [`compile`](Self::compile).
    pub fn from_bytes(bytes: &[u8], limit: u64) -> Result<Self> {
        let (network, options): (NormalForm, BatchedOptions) = envelope::open(Kind::BatchedProgram, bytes, limit)?;
        network.check()?;
        Self::compile(network, options)
    }

    /// The client's part.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The context that images are encrypted in.
    pub fn context(&self) -> &Arc<Context> {
        self.evaluator.context()
    }

    /// How many images one run takes: the slots of a ciphertext.
    pub fn capacity(&self) -> usize {
        self.interface.capacity()
    }

    /// Answers that tell nothing of the weights but what they answer, their values flooded with a normal variable of the
    /// deviation given; on the rayon pool of the caller. See [`reply`](crate::plan::reply).
    ///
    /// # Errors
    /// Those of [`Rerandomizer::ckks`].
    pub fn rerandomize(
        &self,
        answers: &[Ciphertext],
        key: &Rerandomizer,
        deviation: f64,
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        key.ckks(&self.evaluator, answers, |_| true, deviation, cancellation)
    }

    /// Evaluates a batch on the rayon pool of the caller: ciphertext i holds value i of every image, one
    /// image a slot, and so does the answer.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of ciphertexts than an image has values, errors for
    /// ciphertexts that do not belong together or to this program, [`Error::Interrupted`].
    pub fn run(&self, batch: &[&Ciphertext], cancellation: &Cancellation) -> Result<Vec<Ciphertext>> {
        let scale = self.interface.input_scale;
        if let Some(wrong) = batch.iter().find(|value| value.scale() != scale) {
            return Err(Error::OperandMismatch {
                operation: "batched program",
                what: "scales",
                left: scale.to_string(),
                right: wrong.scale().to_string(),
                remedy: "encode images with the program's scale",
            });
        }
        let mut values: Vec<Ciphertext> = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            let inputs: Vec<&Ciphertext> = if i == 0 { batch.to_vec() } else { values.iter().collect() };
            let outputs = stage.segment.run(self.context(), &inputs, stage.scale, cancellation)?;
            values = outputs
                .into_par_iter()
                .map(|mut value| {
                    cancellation.check()?;
                    for _ in 0..stage.divisions {
                        value = self.evaluator.rescale_to_next(&value)?;
                    }
                    Ok(value)
                })
                .collect::<Result<_>>()?;
        }
        Ok(values)
    }
}

/// The smallest degree whose modulus has room for the network at the precision asked for.
fn choose(maps: &[AffineMap], ranges: &[f64], options: BatchedOptions) -> Result<Choice> {
    let squares = maps.len() - 1;
    let unsupported = |reason| Error::Unsupported { operation: "compiling for the batched layout", reason };
    if ranges.iter().any(|range| !range.is_finite()) {
        let reason = "the network's values outgrow double precision; scale the images or the weights down";
        return Err(unsupported(reason.into()));
    }
    // A square turns k polynomials into 2 k - 1: n squares turn 2 into 2^n + 1.
    let most = (Ciphertext::SIZES.end() - 1).ilog2() as usize;
    if squares > most {
        return Err(unsupported(format!(
            "{squares} squares, unrelinearised, need ciphertexts of more than {} polynomials; use a network with at most {most}: an activation of degree d takes ceil(log2 d)",
            Ciphertext::SIZES.end()
        )));
    }
    let mut needed = 0;
    for degree in [2048, 4096, 8192, 16384, 32768] {
        let limit = security::limit(degree, options.security).ok_or_else(|| Error::InvalidArgument {
            name: "security",
            reason: format!("{} bits; choose 128, 192 or 256", options.security),
        })?;
        // Every prime costs time, so a division may keep a larger scale to do with fewer.
        let choices = (0..1u32 << squares).map(|whole| draft(maps, ranges, degree, options.precision, whole));
        let choices = choices.collect::<Result<Vec<Choice>>>()?;
        needed = choices.iter().map(Choice::modulus_bits).min().unwrap_or(0);
        let fits = |choice: &Choice| {
            choice.modulus_bits() <= limit && choice.primes.iter().all(|&bits| bits > degree.ilog2() + 2)
        };
        let best = choices.into_iter().filter(fits).min_by_key(|choice| (choice.primes.len(), choice.modulus_bits()));
        if let Some(choice) = best {
            return Ok(choice);
        }
    }
    Err(unsupported(format!(
        "{squares} squares at {} bits of precision need a modulus of {needed} bits, more than N = 32768 allows at {}-bit security; ask for less precision or use a network with fewer activations",
        options.precision, options.security
    )))
}

/// Scales and primes for one degree. Division i divides by all the bits that the scale can spare, or, where bit i of
/// `whole` is set, by as many of them as primes of full size make up.
fn draft(maps: &[AffineMap], ranges: &[f64], degree: usize, precision: u32, whole: u32) -> Result<Choice> {
    let n = degree as f64;
    // Noise per slot: a polynomial with coefficients of deviation d has values of deviation d sqrt(N).
    let fresh = (DEVIATIONS * FRESH_NOISE * n.sqrt()).log2();
    let input_bits = (f64::from(precision) + fresh).ceil();
    let weight_scales = maps.iter().map(|map| map.weight_scale(precision + 1)).collect::<Result<Vec<f64>>>()?;
    let mut scale = input_bits + weight_scales[0].log2();
    let (mut drops, mut polynomials) = (Vec::new(), 2.0);
    for i in 1..maps.len() {
        polynomials = 2.0 * polynomials - 1.0;
        scale = 2.0 * scale + weight_scales[i].log2();
        // Division rounds every polynomial; the last is multiplied by s^(size - 1), |s| ~ sqrt(2N/3) a slot.
        let rounding = DEVIATIONS * (n / 12.0).sqrt() * (2.0 * n / 3.0).sqrt().powf(polynomials - 1.0);
        let target = f64::from(precision) + (rounding / ranges[i].max(f64::MIN_POSITIVE)).log2().max(fresh);
        let drop = (scale - target).floor();
        let last = i + 1 == maps.len();
        let drop = if last || drop < f64::from(degree.ilog2() + 6) { 0.0 } else { drop };
        let full = f64::from(PRIME_BITS);
        let drop = if whole >> (i - 1) & 1 == 1 { (drop / full).floor() * full } else { drop };
        scale -= drop;
        drops.push(drop as u32);
    }
    let range = ranges.last().map_or(0.0, |range| range.max(1.0).log2());
    let base = (scale + range + HEADROOM_BITS + 1.0).ceil() as u32;
    let mut primes = split(base);
    let mut divisions = vec![0; drops.len()];
    // The primes of the first division stand last.
    for (i, &drop) in drops.iter().enumerate().rev() {
        let own = split(drop);
        divisions[i] = own.len();
        primes.extend(own);
    }
    Ok(Choice { degree, input_bits: input_bits as u32, weight_scales, primes, divisions })
}

/// Prime sizes of at most `PRIME_BITS` that add up to `bits`, as even as can be.
fn split(bits: u32) -> Vec<u32> {
    let count = bits.div_ceil(PRIME_BITS);
    (0..count).map(|i| bits / count + u32::from(i < bits % count)).collect()
}

/// The map with integer weights, its biases as residues.
fn scalar_affine(map: &IntegerAffine, context: &Context, primes: usize) -> Result<ScalarAffine> {
    let columns = map.columns();
    let matrix = ScalarMatrix::new(map.input_shape().iter().product(), map.offsets(), columns, map.weights())?;
    let residue = |bias: i128, q: Modulus| {
        let residue = q.reduce_wide(bias.unsigned_abs());
        if bias < 0 { q.neg(residue) } else { residue }
    };
    let bias = map.bias().iter().flat_map(|&b| (0..primes).map(move |j| residue(b, context.modulus(j)))).collect();
    ScalarAffine::new(matrix, bias)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encoding::CkksEncoder;
    use crate::encryption::{Decryptor, SymmetricEncryptor};
    use crate::network::{Activation, Layer, Network};
    use crate::seal::SealSession;

    fn compile(network: &Network, images: &[f64]) -> Result<BatchedProgram> {
        BatchedProgram::compile(NormalForm::new(network, images)?, BatchedOptions::default())
    }

    /// Encrypts, runs, decrypts: `[n][inputs]` to `[n][outputs]`.
    fn predict(program: &BatchedProgram, images: &[f64]) -> Vec<f64> {
        let context = program.context();
        let (secret, _) = SealSession::new(context).unwrap().generate_keys().unwrap();
        let encoder = CkksEncoder::new(context.clone()).unwrap();
        let encryptor = SymmetricEncryptor::new(context.clone(), &secret).unwrap();
        let inputs: usize = program.interface().input_shape.iter().product();
        let batch: Vec<Ciphertext> = (0..inputs)
            .map(|i| {
                let values: Vec<f64> = images.iter().skip(i).step_by(inputs).copied().collect();
                let plaintext =
                    encoder.encode(&values, program.interface().input_scale, context.data_primes()).unwrap();
                encryptor.encrypt(&plaintext, None).unwrap()
            })
            .collect();
        let answers = program.run(&batch.iter().collect::<Vec<_>>(), &Cancellation::new()).unwrap();
        let decryptor = Decryptor::new(context.clone(), &secret).unwrap();
        let columns: Vec<Vec<f64>> =
            answers.iter().map(|answer| encoder.decode(&decryptor.decrypt(answer).unwrap()).unwrap()).collect();
        (0..images.len() / inputs).flat_map(|image| columns.iter().map(move |column| column[image])).collect()
    }

    /// A dense map with weights and biases from a generator.
    fn dense(inputs: usize, outputs: usize, seed: &mut u64) -> AffineMap {
        let mut number = || {
            *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (*seed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let weights: Vec<f64> = (0..inputs * outputs).map(|_| number() / (inputs as f64).sqrt()).collect();
        let bias: Vec<f64> = (0..outputs).map(|_| number()).collect();
        AffineMap::linear(&weights, [outputs, inputs], Some(&bias)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]

        #[test]
        fn encrypted_answers_are_the_clear_ones(
            widths in prop::collection::vec(1usize..6, 2..5),
            linear in -1.0f64..1.0,
            mut seed: u64,
        ) {
            let mut layers = Vec::new();
            for (i, pair) in widths.windows(2).enumerate() {
                layers.push(Layer::affine("affine", dense(pair[0], pair[1], &mut seed)));
                if i + 2 < widths.len() {
                    let quadratic = Activation::polynomial(&[0.1, linear, 0.7]).unwrap();
                    layers.push(Layer::activation("activation", if i == 0 { Activation::Square } else { quadratic }));
                }
            }
            let network = Network::new(&widths[..1], layers).unwrap();
            let images: Vec<f64> = (0..7 * widths[0]).map(|i| (i as f64 * 0.37).sin()).collect();
            let program = compile(&network, &images).unwrap();
            prop_assert!(program.context().parameters().check_security(128).is_ok());
            let clear = network.evaluate(&images).unwrap();
            for (value, expected) in predict(&program, &images).iter().zip(clear) {
                prop_assert!((value - expected).abs() < 0.01, "{value} {expected}");
            }
        }
    }

    #[test]
    fn residual_networks_and_quartics_give_the_clear_answers() {
        let mut seed = 5;
        let square = || Layer::activation("square", Activation::Square);
        let body = vec![
            Layer::affine("first", dense(4, 6, &mut seed)),
            square(),
            Layer::affine("second", dense(6, 4, &mut seed)),
        ];
        let shortcut = vec![Layer::affine("around", dense(4, 4, &mut seed))];
        let quartic = Activation::polynomial(&[0.1, 0.5, 0.4, -0.1, 0.05]).unwrap();
        let layers = vec![
            Layer::residual("block", body, shortcut),
            Layer::activation("quartic", quartic),
            Layer::affine("last", dense(4, 2, &mut seed)),
        ];
        let network = Network::new(&[4], layers).unwrap();
        let images: Vec<f64> = (0..9 * 4).map(|i| 2.0 * (i as f64 * 0.37).sin()).collect();
        let program = compile(&network, &images).unwrap();
        let clear = network.evaluate(&images).unwrap();
        let largest = clear.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        for (value, expected) in predict(&program, &images).iter().zip(clear) {
            assert!((value - expected).abs() < 0.01 * largest, "{value} {expected}");
        }
    }

    #[test]
    fn values_beyond_double_precision_are_refused() {
        let network = Network::new(&[1], vec![Layer::activation("square", Activation::Square)]).unwrap();
        let error = compile(&network, &[1e200]).unwrap_err();
        assert!(error.to_string().contains("scale the images"), "{error}");
    }

    #[test]
    fn a_network_that_is_too_deep_is_refused() {
        let mut seed = 1;
        let layer =
            |seed: &mut u64| [Layer::affine("map", dense(2, 2, seed)), Layer::activation("square", Activation::Square)];
        let layers: Vec<Layer> = (0..6).flat_map(|_| layer(&mut seed)).collect();
        let network = Network::new(&[2], layers).unwrap();
        let error = compile(&network, &[0.1, 0.2]).unwrap_err();
        assert_eq!(error.code(), "unsupported");
        assert!(error.to_string().contains("6 squares"), "{error}");
    }
}
