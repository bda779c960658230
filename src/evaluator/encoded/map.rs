//! The map itself: rows grouped by their weights, applied tile by tile.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::{Kernel, SPAN, TILES, Terms, Tile};
use crate::encryption::PlainScaling;
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

/// One output: its inputs and weights are `columns[range]` and `entries[range]`.
#[derive(Debug, Clone)]
struct Row {
    output: usize,
    range: Range<usize>,
}

/// `outputs[o] = sum_i weight[o][i] * inputs[i] + bias[o]` with polynomial weights and biases.
#[derive(Debug)]
pub struct EncodedMap {
    context: Arc<Context>,
    inputs: usize,
    outputs: usize,
    /// rows over the same inputs stand together
    rows: Vec<Row>,
    columns: Vec<u32>,
    /// positions in the table of weights
    entries: Vec<u32>,
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
        entries: Vec<u32>,
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
                    reason: format!(
                        "term {coefficient} X^{exponent}: exponents lie below {degree}, coefficients are nonzero and below {}",
                        Self::COEFFICIENT_BOUND
                    ),
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

        let mut rows: Vec<Row> =
            offsets.windows(2).enumerate().map(|(output, w)| Row { output, range: w[0]..w[1] }).collect();
        rows.sort_by(|a, b| columns[a.range.clone()].cmp(&columns[b.range.clone()]));
        Ok(Self {
            context: context.clone(),
            inputs,
            outputs,
            rows,
            columns,
            entries,
            table,
            monomials,
            biases,
            bias_of,
        })
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
            .map(|_| Ciphertext::stale(&self.context, size, primes, Form::Ntt, 1.0))
            .collect();
        let biases: Vec<Vec<u64>> =
            self.biases.par_iter().map(|bias| scaled_plaintext(&self.context, bias, primes)).collect();

        let degree = self.context.degree();
        let spans = degree / SPAN;
        let mut tasks: Vec<Vec<&mut [u64]>> =
            (0..primes * spans).map(|_| Vec::with_capacity(self.outputs * size)).collect();
        for output in &mut outputs {
            for (at, residues) in output.data_mut().chunks_exact_mut(degree).enumerate() {
                for (span, part) in residues.chunks_exact_mut(SPAN).enumerate() {
                    tasks[at % primes * spans + span].push(part);
                }
            }
        }
        let backend = Backend::current()?;
        tasks.into_par_iter().enumerate().try_for_each(|(task, mut parts)| {
            cancellation.check()?;
            let prime = task / spans;
            let at = task % spans * SPAN;
            let kernel = Kernel::new(backend, self.context.modulus(prime));
            let span = prime * degree + at..prime * degree + at + SPAN;
            self.span(&kernel, &transformed, &biases, span, size, &mut parts);
            Ok(())
        })?;
        Ok(outputs)
    }

    /// The weighted sums of all outputs in one span of residues, given by its place among the residues
    /// of a polynomial. `outputs[output * size + polynomial]` is that part of the output.
    fn span(
        &self,
        kernel: &Kernel,
        inputs: &[Cow<'_, Ciphertext>],
        biases: &[Vec<u64>],
        span: Range<usize>,
        size: usize,
        outputs: &mut [&mut [u64]],
    ) {
        // A small table is expanded once; the weights of a large one are not used often enough.
        let small = self.table.len() <= TABLE;
        let expand = |monomials: &[Tile], entries: &mut dyn Iterator<Item = u32>, out: &mut Vec<Tile>| {
            out.clear();
            out.extend(entries.map(|entry| kernel.expand(&self.table[entry as usize], monomials)));
        };
        let (mut monomials, mut weights) = (vec![Vec::new(); TILES], vec![Vec::new(); TILES]);
        for (tile, (monomials, weights)) in monomials.iter_mut().zip(&mut weights).enumerate() {
            monomials.extend(self.monomials.iter().map(|m| m[span.clone()].as_chunks().0[tile]));
            if small {
                expand(monomials, &mut (0..self.table.len() as u32), weights);
            }
        }
        let mut sources: Vec<&[Tile]> = Vec::new();
        for row in &self.rows {
            let entries = &self.entries[row.range.clone()];
            let columns = &self.columns[row.range.clone()];
            sources.clear();
            for poly in 0..size {
                sources.extend(columns.iter().map(|&c| inputs[c as usize].poly(poly)[span.clone()].as_chunks().0));
            }
            let bias = biases[self.bias_of[row.output] as usize].get(span.clone());
            for (tile, (monomials, weights)) in monomials.iter().zip(&mut weights).enumerate() {
                if !small {
                    expand(monomials, &mut entries.iter().copied(), weights);
                }
                for poly in 0..size {
                    let start = bias.filter(|_| poly == 0).map(|residues| &residues.as_chunks().0[tile]);
                    let inputs = sources[poly * columns.len()..(poly + 1) * columns.len()].iter().map(|x| &x[tile]);
                    let out = &mut outputs[row.output * size + poly].as_chunks_mut().0[tile];
                    if small {
                        kernel.accumulate(entries.iter().map(|&e| &weights[e as usize]).zip(inputs), start, out);
                    } else {
                        kernel.accumulate(weights.iter().zip(inputs), start, out);
                    }
                }
            }
        }
    }

    fn check(&self, inputs: &[&Ciphertext]) -> Result<(usize, usize)> {
        let operation = "affine map";
        if inputs.len() != self.inputs {
            return Err(Error::ShapeMismatch {
                operation,
                expected: format!("{} ciphertexts", self.inputs),
                got: vec![inputs.len()],
            });
        }
        let Some(first) = inputs.first() else { return Ok((self.context.data_primes(), 2)) };
        for input in inputs {
            if self.context.primes_of(&input.parms_id()) != Some(input.primes()) {
                return Err(Error::ParametersMismatch { operation, object: "ciphertext" });
            }
            for (what, left, right) in
                [("levels", first.primes(), input.primes()), ("sizes", first.size(), input.size())]
            {
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

/// The largest table of weights that is expanded as a whole (512 KiB for a span).
const TABLE: usize = 512;

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

/// round(q m / t) for a sparse plaintext m, in NTT form modulo the first `primes` primes; nothing for zero.
fn scaled_plaintext(context: &Context, plaintext: &SparsePolynomial, primes: usize) -> Vec<u64> {
    let (Ok(t), Some(scaling)) =
        (Modulus::new(context.parameters().plain_modulus()), PlainScaling::new(context, primes))
    else {
        return Vec::new();
    };
    if plaintext.terms.is_empty() {
        return Vec::new();
    }
    let degree = context.degree();
    let mut message = vec![0; degree];
    for &(exponent, coefficient) in &plaintext.terms {
        let slot = &mut message[exponent as usize];
        *slot = t.add(*slot, t.reduce_signed(coefficient));
    }
    let mut data = vec![0; degree * primes];
    scaling.add(&message, &mut data);
    for (residues, table) in data.chunks_exact_mut(degree).zip(context.tables()) {
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

    use super::super::TILE;
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
            let map = EncodedMap::new(&context, 4, &offsets, columns.clone(), entries.clone(), &weights, no_bias, vec![0; rows.len()]).unwrap();
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
            let terms = Terms { plus: vec![0; 1000], minus: vec![1; 900], other: vec![(2, 2047), (0, -2047)] };
            let monomials = [tile, [largest; TILE], [largest; TILE]];
            let products = vec![(&tile, &tile); length];
            let results: Vec<(Tile, Tile)> = Backend::available()
                .iter()
                .map(|&backend| {
                    let kernel = Kernel::new(backend, modulus);
                    let mut sum = [0; TILE];
                    kernel.accumulate(products.iter().copied(), Some(&[largest; TILE]), &mut sum);
                    (sum, kernel.expand(&terms, &monomials))
                })
                .collect();
            assert!(results.iter().all(|result| result == &results[0]), "{bits} bits");
        }
    }
}
