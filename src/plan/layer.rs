//! One affine layer on ciphertexts that hold one number each, in any encoding: PyCrCNN's way of running a network,
//! layer by layer.
//!
//! Weights are encoded as the numbers are. Digits of numbers make sparse polynomials ([`EncodedMap`]); whole numbers
//! modulo t and CKKS's scaled numbers are integers ([`Segment`]).

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use rayon::prelude::*;

use super::per_value::{distinct, encode_map, sparse};
use crate::encoding::{CkksEncoder, ConstantEncoder, FractionalEncoder, IntegerEncoder};
use crate::encryption::PlainScaling;
use crate::error::{Error, Result};
use crate::evaluator::Evaluator;
use crate::evaluator::batched::{ScalarAffine, ScalarMatrix, Segment, Step};
use crate::network::AffineMap;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form, Plaintext};

/// The operation's name in errors.
const OPERATION: &str = "affine map";

/// How the numbers in the ciphertexts, and so the weights, are encoded.
#[derive(Debug, Clone, Copy)]
pub enum Encoding<'a> {
    /// BFV: the digits of real numbers
    Fractional(&'a FractionalEncoder),
    /// BFV: the digits of whole numbers
    Integer(&'a IntegerEncoder),
    /// BFV: whole numbers modulo t, the same in every slot
    Constant(&'a ConstantEncoder),
    /// CKKS: real numbers, the same in every slot
    Ckks(&'a CkksEncoder),
}

/// An affine map as a layer of its own.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// the weights and biases, in clear
    pub map: &'a AffineMap,
    /// the encoding of the numbers
    pub encoding: Encoding<'a>,
    /// The ciphertexts hold this many times their numbers. In BFV the results do so too (the biases are multiplied by
    /// it), in CKKS the weights are divided by it.
    pub divisor: f64,
    /// CKKS: the scale of the weights, by which the ciphertexts' scale is multiplied.
    pub weight_scale: f64,
}

impl Layer<'_> {
    /// Maps each image of a batch, one after the other on the rayon pool of the caller; `None` stands for a ciphertext
    /// of zero. Ciphertexts may have different numbers of polynomials and be in either form.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the inputs are not whole images, [`Error::Unencodable`] for weights that the
    /// encoding has no room for, [`Error::ScaleOutOfRange`] for CKKS weights of more than 60 bits,
    /// [`Error::ParametersMismatch`] and [`Error::OperandMismatch`] for ciphertexts that do not belong together,
    /// [`Error::Interrupted`].
    pub fn run(
        &self,
        context: &Arc<Context>,
        inputs: &[Option<&Ciphertext>],
        cancellation: &Cancellation,
    ) -> Result<Vec<Ciphertext>> {
        let count = self.map.inputs();
        if !inputs.len().is_multiple_of(count) {
            let expected = format!("images of {count} ciphertexts");
            return Err(Error::ShapeMismatch { operation: OPERATION, expected, got: vec![inputs.len()] });
        }
        let bias = |b: f64| b * self.divisor;
        let sparse_map = |encode: &dyn Fn(f64) -> Result<Vec<(usize, i64)>>| {
            encode_map(context, self.map, |w| sparse(encode(w)), |b| sparse(encode(bias(b))))
        };
        let apply = |form, run: &dyn Fn(&[&Ciphertext]) -> Result<Vec<Ciphertext>>| {
            let inputs = alike(context, inputs, form)?;
            let images = inputs.chunks_exact(count).map(|image| image.iter().map(|c| &**c).collect::<Vec<_>>());
            Ok(images.map(|image| run(&image)).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        };
        let first = inputs.iter().flatten().next();
        let primes = first.map_or(context.data_primes(), |c| c.primes());
        match self.encoding {
            Encoding::Fractional(encoder) => {
                let map = sparse_map(&|x| encoder.digits(x))?;
                apply(None, &|image| map.apply(image, cancellation))
            }
            Encoding::Integer(encoder) => {
                let map = sparse_map(&|x| Ok(encoder.digits(whole(x)?)))?;
                apply(None, &|image| map.apply(image, cancellation))
            }
            Encoding::Constant(encoder) => {
                let segment = self.constants(context, encoder, primes)?;
                apply(Some(Form::Coefficient), &|image| segment.run(context, image, 1.0, cancellation))
            }
            Encoding::Ckks(encoder) => {
                let scale = first.map_or(1.0, |c| c.scale()) * self.weight_scale;
                let segment = self.scaled(encoder, scale, primes)?;
                apply(Some(Form::Ntt), &|image| segment.run(context, image, scale, cancellation))
            }
        }
    }

    /// BFV: whole numbers modulo t.
    fn constants(&self, context: &Context, encoder: &ConstantEncoder, primes: usize) -> Result<Segment> {
        let mismatch = Error::ParametersMismatch { operation: OPERATION, object: "encoder" };
        let constant = |value: f64| match encoder.encode(whole(value)?)? {
            Plaintext::Bfv(coefficients) => Ok(coefficients.first().copied().unwrap_or(0)),
            Plaintext::Ckks { .. } => Err(mismatch.clone()),
        };
        let weights = self.map.weights().iter().map(|&w| constant(w).and(whole(w))).collect::<Result<Vec<_>>>()?;
        let scaling = PlainScaling::new(context, primes).ok_or(mismatch.clone())?;
        let residues = |bias: f64| {
            // A message of one coefficient, in polynomials of one.
            let mut scaled = vec![0; primes];
            scaling.add(&[constant(bias * self.divisor)?], &mut scaled);
            Ok(scaled)
        };
        integer_segment(self.map, weights, biases(self.map, residues)?)
    }

    /// CKKS: numbers times a scale.
    fn scaled(&self, encoder: &CkksEncoder, scale: f64, primes: usize) -> Result<Segment> {
        let quantized = |weight: f64| {
            let scaled = (weight * self.weight_scale / self.divisor).round();
            if scaled.abs() < MAX_INTEGER as f64 {
                return Ok(scaled as i64);
            }
            let bits = self.weight_scale.log2();
            let reason = format!("a weight of {weight} at scale 2^{bits:.1} has more than 60 bits; use smaller primes");
            Err(Error::ScaleOutOfRange { operation: OPERATION, reason })
        };
        let weights = self.map.weights().iter().map(|&w| quantized(w)).collect::<Result<Vec<_>>>()?;
        let residues = |bias: f64| match encoder.encode_constant(bias, scale, primes)? {
            Plaintext::Ckks { data, .. } => Ok(data.chunks_exact(data.len() / primes).map(|row| row[0]).collect()),
            Plaintext::Bfv(_) => Err(Error::ParametersMismatch { operation: OPERATION, object: "encoder" }),
        };
        integer_segment(self.map, weights, biases(self.map, residues)?)
    }
}

/// A weight or bias as a whole number.
fn whole(value: f64) -> Result<i64> {
    if value.fract() == 0.0 && value.abs() < 2f64.powi(63) {
        return Ok(value as i64);
    }
    let reason = "the encryption is of whole numbers: scale and round weights and biases, or encode fractions";
    Err(Error::Unencodable { value, index: 0, reason: reason.into() })
}

/// The residues of each output's bias, `[output][prime]`; none where all biases are zero.
fn biases(map: &AffineMap, residues: impl Fn(f64) -> Result<Vec<u64>>) -> Result<Vec<u64>> {
    if map.bias().iter().all(|&b| b == 0.0) {
        return Ok(Vec::new());
    }
    let (table, bias_of) = distinct(map.bias());
    let table = table.into_iter().map(residues).collect::<Result<Vec<_>>>()?;
    Ok(bias_of.iter().flat_map(|&at| table[at as usize].iter().copied()).collect())
}

/// The largest weight, exclusive: two limbs of 30 bits.
const MAX_INTEGER: i64 = 1 << 60;

/// A segment with weights of up to 60 bits: those that a matrix does not take are split, high and low limb each give a
/// sum of their own, and a second map puts the two together.
fn integer_segment(map: &AffineMap, weights: Vec<i64>, bias: Vec<u64>) -> Result<Segment> {
    const LIMB: i64 = ScalarMatrix::MAX_WEIGHT;
    let step = |matrix, bias: Vec<u64>| {
        Ok(Step::Affine(if bias.is_empty() { ScalarAffine::linear(matrix) } else { ScalarAffine::new(matrix, bias)? }))
    };
    if weights.iter().all(|w| w.abs() <= LIMB) {
        let matrix = ScalarMatrix::new(map.inputs(), map.offsets(), map.columns(), &weights)?;
        return Segment::new(map.inputs(), vec![step(matrix, bias)?]);
    }
    let high = |w: i64| (w + LIMB / 2).div_euclid(LIMB);
    let low = |w: i64| w - high(w) * LIMB;
    let (mut offsets, mut columns, mut limbs) = (vec![0], Vec::new(), Vec::new());
    for bounds in map.offsets().windows(2) {
        let (columns_of_row, row) = (&map.columns()[bounds[0]..bounds[1]], &weights[bounds[0]..bounds[1]]);
        for limb in [&high as &dyn Fn(i64) -> i64, &low] {
            columns.extend_from_slice(columns_of_row);
            limbs.extend(row.iter().map(|&w| limb(w)));
            offsets.push(columns.len());
        }
    }
    let rows = map.outputs();
    let pairs: Vec<usize> = (0..=rows).map(|row| 2 * row).collect();
    let both: Vec<u32> = (0..2 * rows as u32).collect();
    let split = ScalarMatrix::new(map.inputs(), &offsets, &columns, &limbs)?;
    let join = ScalarMatrix::new(2 * rows, &pairs, &both, &[LIMB, 1].repeat(rows))?;
    Segment::new(map.inputs(), vec![step(split, Vec::new())?, step(join, bias)?])
}

/// All inputs with as many polynomials as the largest, and zeros for those that are not there; in `form`, if given.
fn alike<'a>(
    context: &Arc<Context>,
    inputs: &[Option<&'a Ciphertext>],
    form: Option<Form>,
) -> Result<Vec<Cow<'a, Ciphertext>>> {
    let first = inputs.iter().flatten().next();
    let (primes, scale) = first.map_or((context.data_primes(), 1.0), |c| (c.primes(), c.scale()));
    let size = inputs.iter().flatten().map(|c| c.size()).max().unwrap_or(2);
    let evaluator = LazyLock::new(|| Evaluator::new(context.clone()));
    let one = |input: &Option<&'a Ciphertext>| {
        let Some(input) = *input else {
            return Ok(Cow::Owned(Ciphertext::zero(context, size, primes, form.unwrap_or(Form::Ntt), scale)));
        };
        let input = match form {
            Some(Form::Ntt) if input.form() == Form::Coefficient => Cow::Owned(evaluator.to_ntt(input)?),
            Some(Form::Coefficient) if input.form() == Form::Ntt => Cow::Owned(evaluator.to_coefficients(input)?),
            _ => Cow::Borrowed(input),
        };
        if input.size() == size || context.primes_of(&input.parms_id()) != Some(input.primes()) {
            return Ok(input);
        }
        let mut longer = Ciphertext::zero(context, size, input.primes(), input.form(), input.scale());
        longer.data_mut()[..input.data().len()].copy_from_slice(input.data());
        Ok(Cow::Owned(longer))
    };
    inputs.par_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encryption::{Decryptor, SymmetricEncryptor};
    use crate::ring::primes;
    use crate::scheme::Parameters;
    use crate::seal::SealSession;

    fn keys(t: u64) -> (Arc<Context>, SymmetricEncryptor, Decryptor) {
        let moduli = primes::bfv_default(4096, 128).unwrap().to_vec();
        let context = Context::new(Parameters::bfv(4096, moduli, false, t).unwrap()).unwrap();
        let (secret, _) = SealSession::new(&context).unwrap().generate_keys().unwrap();
        let encryptor = SymmetricEncryptor::new(context.clone(), &secret).unwrap();
        let decryptor = Decryptor::new(context.clone(), &secret).unwrap();
        (context, encryptor, decryptor)
    }

    #[test]
    fn large_integer_weights_are_split_into_two_limbs() {
        let t = primes::create(4096, &[45]).unwrap()[0];
        let (context, encryptor, decryptor) = keys(t);
        let encoder = ConstantEncoder::new(t).unwrap();
        let encrypted = [3, -2].map(|x| encryptor.encrypt(&encoder.encode(x).unwrap(), None).unwrap());
        let weights = [(1i64 << 40) + 12345, -5, -(1 << 33) - 1, 1 << 30].map(|w| w as f64);
        let map = AffineMap::linear(&weights, [2, 2], Some(&[7.0, -9.0])).unwrap();
        let layer = Layer { map: &map, encoding: Encoding::Constant(&encoder), divisor: 2.0, weight_scale: 1.0 };
        let inputs = [Some(&encrypted[0]), Some(&encrypted[1]), None, Some(&encrypted[1])];
        let outputs = layer.run(&context, &inputs, &Cancellation::new()).unwrap();
        let decrypted: Vec<i64> =
            outputs.iter().map(|c| encoder.decode(&decryptor.decrypt(c).unwrap()).unwrap()).collect();
        let sum = |x: [i64; 2], row: usize| {
            x[0] * weights[2 * row] as i64 + x[1] * weights[2 * row + 1] as i64 + 2 * [7, -9][row]
        };
        assert_eq!(decrypted, [sum([3, -2], 0), sum([3, -2], 1), sum([0, -2], 0), sum([0, -2], 1)]);
    }

    #[test]
    fn fractional_layers_take_ciphertexts_of_different_sizes() {
        let (context, encryptor, decryptor) = keys(257);
        let encoder = FractionalEncoder::new(4096, 257, 2, 64, 32).unwrap();
        let a = encryptor.encrypt(&encoder.encode(1.5).unwrap(), None).unwrap();
        let square = Evaluator::new(context.clone()).square(&a).unwrap();
        let map = AffineMap::linear(&[0.5, -2.0, 100.0], [1, 3], Some(&[0.25])).unwrap();
        let layer = Layer { map: &map, encoding: Encoding::Fractional(&encoder), divisor: 1.0, weight_scale: 1.0 };
        let outputs = layer.run(&context, &[Some(&a), Some(&square), None], &Cancellation::new()).unwrap();
        let value = encoder.decode_all_digits(&decryptor.decrypt(&outputs[0]).unwrap()).unwrap();
        assert!((value - (0.75 - 4.5 + 0.25)).abs() < 1e-9, "{value}");
        let error = layer.run(&context, &[Some(&a)], &Cancellation::new()).unwrap_err();
        assert_eq!(error.code(), "shape-mismatch");
    }
}
