//! The map itself: rows grouped by their weights, applied tile by tile.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::{Kernel, TILE, Terms, Tile};
use crate::error::{Error, Result};
use crate::ring::Modulus;
use crate::ring::backend::Backend;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form};

/// A polynomial with few nonzero coefficients, small and signed: an encoded weight.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SparsePolynomial {
    /// (exponent below N, nonzero coefficient below 2^11 in magnitude)
    pub terms: Vec<(u32, i64)>,
}

/// Rows that have the same weights in the same order, over different columns.
#[derive(Debug, Clone)]
struct Group {
    /// positions in the table of weights
    weights: Vec<u32>,
    /// (output, where its columns start)
    rows: Vec<(u32, usize)>,
}

/// `outputs[o] = sum_i weight[o][i] * inputs[i] + bias[o]` with polynomial weights and biases.
#[derive(Debug)]
pub struct EncodedMap {
    context: Arc<Context>,
    inputs: usize,
    outputs: usize,
    groups: Vec<Group>,
    columns: Vec<u32>,
    table: Vec<Terms>,
    /// residues of the monomials that occur, `[monomial][prime][N]`, NTT form
    monomials: Vec<Vec<u64>>,
    /// plaintext coefficients of each distinct bias, and which bias each output has
    biases: Vec<SparsePolynomial>,
    bias_of: Vec<u32>,
}

impl EncodedMap {
    /// The largest magnitude of a weight's coefficient, exclusive.
    pub const COEFFICIENT_BOUND: i64 = 1 << 11;

    /// A map from rows in compressed form: row o has the entries `offsets[o]..offsets[o + 1]` of
    /// `columns` (inputs) and `entries` (positions in `weights`); `bias_of[o]` is a position in `biases`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the arrays do not fit together, [`Error::InvalidArgument`] for
    /// exponents from N up, zero or too large coefficients.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        context: &Arc<Context>,
        inputs: usize,
        offsets: &[usize],
        columns: Vec<u32>,
        entries: &[u32],
        weights: &[SparsePolynomial],
        biases: Vec<SparsePolynomial>,
        bias_of: Vec<u32>,
    ) -> Result<Self> {
        let outputs = offsets.len().saturating_sub(1);
        let fits = offsets.first() == Some(&0)
            && offsets.windows(2).all(|w| w[0] <= w[1])
            && offsets.last() == Some(&columns.len())
            && columns.len() == entries.len()
            && bias_of.len() == outputs
            && columns.iter().all(|&c| (c as usize) < inputs)
            && entries.iter().all(|&e| (e as usize) < weights.len())
            && bias_of.iter().all(|&b| (b as usize) < biases.len());
        if !fits {
            return Err(Error::ShapeMismatch {
                operation: "EncodedMap",
                expected: "rows, columns, weights and biases that refer to each other within bounds".into(),
                got: vec![offsets.len(), columns.len(), entries.len(), weights.len(), biases.len(), bias_of.len()],
            });
        }
        let degree = context.degree();
        for &(exponent, coefficient) in weights.iter().chain(&biases).flat_map(|p| &p.terms) {
            if exponent as usize >= degree || coefficient == 0 || coefficient.abs() >= Self::COEFFICIENT_BOUND {
                return Err(Error::InvalidArgument {
                    name: "weights",
                    reason: format!("term {coefficient} X^{exponent}: exponents lie below {degree}, coefficients are nonzero and below {}", Self::COEFFICIENT_BOUND),
                });
            }
        }

        let mut positions = BTreeMap::new();
        for &(exponent, _) in weights.iter().flat_map(|p| &p.terms) {
            let next = positions.len() as u32;
            positions.entry(exponent).or_insert(next);
        }
        let mut monomials = vec![Vec::new(); positions.len()];
        for (&exponent, &position) in &positions {
            monomials[position as usize] = monomial(context, exponent as usize);
        }
        let table = weights.iter().map(|weight| terms(weight, &positions)).collect();

        let mut groups: BTreeMap<&[u32], Vec<(u32, usize)>> = BTreeMap::new();
        for (output, range) in offsets.windows(2).enumerate() {
            groups.entry(&entries[range[0]..range[1]]).or_default().push((output as u32, range[0]));
        }
        let groups = groups.into_iter().map(|(weights, rows)| Group { weights: weights.to_vec(), rows }).collect();
        Ok(Self { context: context.clone(), inputs, outputs, groups, columns, table, monomials, biases, bias_of })
    }

    /// The number of ciphertexts that the map takes.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The number of ciphertexts that it gives.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Evaluates the map. Inputs may be in either form but agree in level and size; the result is in
    /// NTT form, of the same level and size.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for another number of inputs, [`Error::ParametersMismatch`] and
    /// [`Error::OperandMismatch`] for ciphertexts that do not belong together, [`Error::Interrupted`].
    pub fn apply(&self, inputs: &[&Ciphertext], cancellation: &Cancellation) -> Result<Vec<Ciphertext>> {
        let (primes, size) = self.check(inputs)?;
        let transformed: Vec<Cow<'_, Ciphertext>> = inputs
            .par_iter()
            .map(|&input| {
                cancellation.check()?;
                Ok(match input.form() {
                    Form::Ntt => Cow::Borrowed(input),
                    Form::Coefficient => Cow::Owned(to_ntt(&self.context, input)),
                })
            })
            .collect::<Result<_>>()?;

        let mut outputs: Vec<Ciphertext> = (0..self.outputs)
            .into_par_iter()
            .map(|_| Ciphertext::zero(&self.context, size, primes, Form::Ntt, 1.0))
            .collect();
        self.add_biases(&mut outputs);

        let degree = self.context.degree();
        let ranges = degree / RANGE.min(degree);
        let range = degree / ranges;
        let mut tasks: Vec<Vec<&mut [u64]>> = (0..primes * ranges).map(|_| Vec::with_capacity(self.outputs * size)).collect();
        for output in &mut outputs {
            for (at, residues) in output.data_mut().chunks_exact_mut(degree).enumerate() {
                for (r, part) in residues.chunks_exact_mut(range).enumerate() {
                    tasks[at % primes * ranges + r].push(part);
                }
            }
        }
        tasks.into_par_iter().enumerate().try_for_each(|(task, mut parts)| {
            let (prime, start) = (task / ranges, task % ranges * range);
            let kernel = Kernel::new(Backend::current()?, self.context.modulus(prime));
            let mut scratch = Scratch::default();
            for within in (0..range).step_by(TILE) {
                cancellation.check()?;
                let tile = TileOf { kernel: &kernel, prime, at: start + within, within, size };
                self.tile(&tile, &transformed, &mut scratch, &mut parts);
            }
            Ok(())
        })?;
        Ok(outputs)
    }

    /// Adds the weighted sums to all outputs at `TILE` residues from `at` on, modulo one prime.
    /// `outputs[output * size + polynomial]` is the part of the output's residues that the tile lies in,
    /// `within` its position there.
    fn tile(&self, tile: &TileOf<'_>, inputs: &[Cow<'_, Ciphertext>], scratch: &mut Scratch, outputs: &mut [&mut [u64]]) {
        let &TileOf { kernel, prime, at, within, size } = tile;
        let Scratch { panel, monomials, weights } = scratch;
        let tile_of = |residues: &[u64]| -> Tile { std::array::from_fn(|x| residues[at + x]) };
        panel.clear();
        for poly in 0..size {
            panel.extend(inputs.iter().map(|input| tile_of(input.residues(poly, prime))));
        }
        let degree = self.context.degree();
        monomials.clear();
        monomials.extend(self.monomials.iter().map(|m| tile_of(&m[prime * degree..(prime + 1) * degree])));
        for group in &self.groups {
            weights.resize(group.weights.len(), [0; TILE]);
            for (expanded, &weight) in weights.iter_mut().zip(&group.weights) {
                kernel.expand(&self.table[weight as usize], monomials, expanded);
            }
            for &(row, start) in &group.rows {
                let columns = self.columns[start..start + group.weights.len()].iter().map(|&c| c as usize);
                for poly in 0..size {
                    let inputs = &panel[poly * self.inputs..(poly + 1) * self.inputs];
                    let part = &mut outputs[row as usize * size + poly][within..within + TILE];
                    let sums: &mut Tile = part.try_into().expect("the part is one tile long");
                    kernel.accumulate(weights, inputs, columns.clone(), sums);
                }
            }
        }
    }

    /// Puts the scaled biases, in NTT form, into the first polynomials.
    fn add_biases(&self, outputs: &mut [Ciphertext]) {
        let Some(primes) = outputs.first().map(Ciphertext::primes) else { return };
        let scaled: Vec<Vec<u64>> = self
            .biases
            .par_iter()
            .map(|bias| if bias.terms.is_empty() { Vec::new() } else { scaled_plaintext(&self.context, bias, primes) })
            .collect();
        outputs.par_iter_mut().zip(&self.bias_of).for_each(|(output, &bias)| {
            let bias = &scaled[bias as usize];
            if !bias.is_empty() {
                output.poly_mut(0).copy_from_slice(bias);
            }
        });
    }

    fn check(&self, inputs: &[&Ciphertext]) -> Result<(usize, usize)> {
        let operation = "affine map";
        if inputs.len() != self.inputs {
            return Err(Error::ShapeMismatch { operation, expected: format!("{} ciphertexts", self.inputs), got: vec![inputs.len()] });
        }
        let Some(first) = inputs.first() else { return Ok((self.context.data_primes(), 2)) };
        for input in inputs {
            if self.context.primes_of(&input.parms_id()) != Some(input.primes()) {
                return Err(Error::ParametersMismatch { operation, object: "ciphertext" });
            }
            for (what, left, right) in [("levels", first.primes(), input.primes()), ("sizes", first.size(), input.size())] {
                if left != right {
                    return Err(Error::OperandMismatch {
                        operation,
                        what,
                        left: left.to_string(),
                        right: right.to_string(),
                        remedy: "bring all ciphertexts of a layer to one level and size first",
                    });
                }
            }
        }
        Ok((first.primes(), first.size()))
    }
}

/// Residues that one task works on: long enough to amortise its start, short enough to share out.
const RANGE: usize = 512;

/// Where a tile lies.
struct TileOf<'a> {
    kernel: &'a Kernel,
    prime: usize,
    /// position in the polynomial
    at: usize,
    /// position in the task's part of it
    within: usize,
    /// polynomials of each ciphertext
    size: usize,
}

/// Buffers of a task.
#[derive(Default)]
struct Scratch {
    /// `[polynomial][input]`
    panel: Vec<Tile>,
    monomials: Vec<Tile>,
    weights: Vec<Tile>,
}

/// A copy in NTT form.
fn to_ntt(context: &Context, input: &Ciphertext) -> Ciphertext {
    let mut output = input.clone();
    output.set_form(Form::Ntt);
    let primes = input.primes();
    for (at, residues) in output.data_mut().chunks_exact_mut(context.degree()).enumerate() {
        context.tables()[at % primes].forward(residues);
    }
    output
}

/// X^exponent in NTT form modulo every prime.
fn monomial(context: &Context, exponent: usize) -> Vec<u64> {
    let mut data = vec![0; context.degree() * context.key_primes()];
    for (residues, table) in data.chunks_exact_mut(context.degree()).zip(context.tables()) {
        residues[exponent] = 1;
        table.forward(residues);
    }
    data
}

/// round(q m / t) for a sparse plaintext m, in NTT form modulo the first `primes` primes (SEAL's
/// scaling: floor(q / t) m + floor(((q mod t) m + floor((t + 1) / 2)) / t)).
fn scaled_plaintext(context: &Context, plaintext: &SparsePolynomial, primes: usize) -> Vec<u64> {
    let t = Modulus::new(context.parameters().plain_modulus()).expect("BFV parameters have a valid plaintext modulus");
    let q = context.tables()[..primes].iter().fold(num_bigint::BigUint::from(1u32), |q, table| q * table.modulus().value());
    let (quotient, remainder) = (&q / t.value(), (&q % t.value()).iter_u64_digits().next().unwrap_or(0));
    let mut data = vec![0; context.degree() * primes];
    for (residues, table) in data.chunks_exact_mut(context.degree()).zip(context.tables()) {
        let modulus = table.modulus();
        let quotient = (&quotient % modulus.value()).iter_u64_digits().next().unwrap_or(0);
        for &(exponent, coefficient) in &plaintext.terms {
            let m = t.reduce_signed(coefficient);
            let rounded = (u128::from(remainder) * u128::from(m) + u128::from(t.value().div_ceil(2))) / u128::from(t.value());
            let value = modulus.add(modulus.mul(quotient, modulus.reduce(m)), modulus.reduce_wide(rounded));
            let slot = &mut residues[exponent as usize];
            *slot = modulus.add(*slot, value);
        }
        table.forward(residues);
    }
    data
}

fn terms(weight: &SparsePolynomial, positions: &BTreeMap<u32, u32>) -> Terms {
    let mut terms = Terms::default();
    for &(exponent, coefficient) in &weight.terms {
        let position = positions[&exponent];
        match coefficient {
            1 => terms.plus.push(position),
            -1 => terms.minus.push(position),
            other => terms.other.push((position, other)),
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ring::primes;
    use crate::scheme::Parameters;

    const DEGREE: usize = 1024;

    fn context(bits: u32) -> Arc<Context> {
        let moduli = primes::create(DEGREE, &[bits, bits]).unwrap();
        Context::new(Parameters::bfv(DEGREE, moduli, false, 65537).unwrap()).unwrap()
    }

    fn random_ciphertext(context: &Context, size: usize, seed: &mut u64) -> Ciphertext {
        let mut ciphertext = Ciphertext::zero(context, size, 2, Form::Coefficient, 1.0);
        for (at, residues) in ciphertext.data_mut().chunks_exact_mut(DEGREE).enumerate() {
            let q = context.modulus(at % 2).value();
            for residue in residues {
                *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *residue = if *seed >> 60 == 0 { q - 1 } else { (*seed >> 3) % q };
            }
        }
        ciphertext
    }

    /// weight * x mod X^N + 1, coefficient by coefficient.
    fn multiply(weight: &SparsePolynomial, x: &[u64], q: Modulus, sum: &mut [u64]) {
        for &(exponent, coefficient) in &weight.terms {
            for (i, &value) in x.iter().enumerate() {
                let product = q.mul(q.reduce_signed(coefficient), value);
                let at = i + exponent as usize;
                let slot = &mut sum[at % DEGREE];
                *slot = if at < DEGREE { q.add(*slot, product) } else { q.sub(*slot, product) };
            }
        }
    }

    fn weight() -> impl Strategy<Value = SparsePolynomial> {
        let coefficient = prop_oneof![Just(1), Just(-1), -2047i64..2048].prop_filter("nonzero", |&c| c != 0);
        prop::collection::btree_map(0..DEGREE as u32, coefficient, 0..12)
            .prop_map(|terms| SparsePolynomial { terms: terms.into_iter().collect() })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn agrees_with_schoolbook_multiplication(
            bits in 20u32..61,
            size in 2usize..4,
            weights in prop::collection::vec(weight(), 1..5),
            rows in prop::collection::vec(prop::collection::vec((0u32..4, any::<prop::sample::Index>()), 0..6), 1..5),
            mut seed: u64,
        ) {
            let context = context(bits);
            let inputs: Vec<Ciphertext> = (0..4).map(|_| random_ciphertext(&context, size, &mut seed)).collect();
            let mut offsets = vec![0];
            let (mut columns, mut entries) = (Vec::new(), Vec::new());
            for row in &rows {
                for (column, entry) in row {
                    columns.push(*column);
                    entries.push(entry.index(weights.len()) as u32);
                }
                offsets.push(columns.len());
            }
            let no_bias = vec![SparsePolynomial::default()];
            let map = EncodedMap::new(&context, 4, &offsets, columns.clone(), &entries, &weights, no_bias, vec![0; rows.len()]).unwrap();
            let outputs = map.apply(&inputs.iter().collect::<Vec<_>>(), &Cancellation::new()).unwrap();
            for (o, output) in outputs.iter().enumerate() {
                for poly in 0..size {
                    for prime in 0..2 {
                        let mut expected = vec![0; DEGREE];
                        for at in offsets[o]..offsets[o + 1] {
                            let input = inputs[columns[at] as usize].residues(poly, prime);
                            multiply(&weights[entries[at] as usize], input, context.modulus(prime), &mut expected);
                        }
                        context.tables()[prime].forward(&mut expected);
                        prop_assert_eq!(output.residues(poly, prime), &expected[..]);
                    }
                }
            }
        }
    }

    #[test]
    fn kernels_agree_on_long_rows_of_extreme_residues() {
        for bits in [20, 36, 49, 50] {
            let modulus = Modulus::new(primes::largest(2 * DEGREE as u64, bits, 1).unwrap()[0]).unwrap();
            let largest = modulus.value() - 1;
            let length = 5000;
            let tile: Tile = std::array::from_fn(|x| if x % 3 == 0 { largest } else { x as u64 * 12345 % largest });
            let (weights, inputs) = (vec![tile; length], vec![tile; length]);
            let terms = Terms { plus: vec![0; 1000], minus: vec![1; 900], other: vec![(2, 2047), (0, -2047)] };
            let monomials = [tile, [largest; TILE], [largest; TILE]];
            let results: Vec<(Tile, Tile)> = Backend::available()
                .iter()
                .map(|&backend| {
                    let kernel = Kernel::new(backend, modulus);
                    let (mut sum, mut weight) = ([largest; TILE], [0; TILE]);
                    kernel.accumulate(&weights, &inputs, 0..length, &mut sum);
                    kernel.expand(&terms, &monomials, &mut weight);
                    (sum, weight)
                })
                .collect();
            assert!(results.iter().all(|result| result == &results[0]), "{bits} bits");
        }
    }
}
