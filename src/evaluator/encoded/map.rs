//! The map itself: rows grouped by their weights, applied tile by tile.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::bias::{Biases, LevelBiases};
use super::weights::{SparsePolynomial, Table};
use super::{Kernel, SPAN, TILES, Tile};
use crate::error::{Error, Result};
use crate::evaluator::arithmetic::transformed;
use crate::evaluator::layer::{check_inputs, spans};
use crate::ring::backend::Backend;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, Form};

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
    table: Table,
    biases: Biases,
}

impl EncodedMap {
    /// A map from rows in compressed form: row o has the entries `offsets[o]..offsets[o + 1]` of
    /// `columns` (inputs) and `entries` (positions in `weights`); `bias_of[o]` is a position in `biases`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] where the arrays do not fit together, [`Error::InvalidArgument`] for
    /// exponents from N up, zero or too large coefficients, and weights of more than
    /// [`SparsePolynomial::UNIT_TERMS`] terms 1 and -1.
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
        let table = Table::new(context, weights)?;
        let biases = Biases::new(context, biases, bias_of)?;
        let mut rows: Vec<Row> =
            offsets.windows(2).enumerate().map(|(output, w)| Row { output, range: w[0]..w[1] }).collect();
        rows.sort_by(|a, b| columns[a.range.clone()].cmp(&columns[b.range.clone()]));
        Ok(Self { context: context.clone(), inputs, outputs, rows, columns, entries, table, biases })
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
        let first = check_inputs("affine map", &self.context, inputs, self.inputs)?;
        let (primes, size) = (first.primes(), first.size());
        let values: Vec<Cow<'_, Ciphertext>> = inputs
            .par_iter()
            .map(|&input| {
                cancellation.check()?;
                Ok(match input.form() {
                    Form::Ntt => Cow::Borrowed(input),
                    Form::Coefficient => Cow::Owned(transformed(&self.context, input, Form::Ntt)),
                })
            })
            .collect::<Result<_>>()?;

        let mut outputs: Vec<Ciphertext> = (0..self.outputs)
            .into_par_iter()
            .map(|_| Ciphertext::stale(&self.context, size, primes, Form::Ntt, 1.0))
            .collect();
        let biases = self.biases.at(primes);
        let degree = self.context.degree();
        let backend = Backend::current()?;
        spans(&mut outputs, SPAN).into_par_iter().enumerate().try_for_each(|(task, mut parts)| {
            cancellation.check()?;
            let span = task * SPAN..(task + 1) * SPAN;
            let kernel = Kernel::new(backend, self.context.modulus(span.start / degree));
            self.span(&kernel, &values, biases, span, size, &mut parts);
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
        biases: LevelBiases<'_>,
        span: Range<usize>,
        size: usize,
        outputs: &mut [&mut [u64]],
    ) {
        // A small table is expanded once; the weights of a large one are not used often enough.
        let small = self.table.weights.len() <= TABLE;
        let expand = |monomials: &[Tile], entries: &mut dyn Iterator<Item = u32>, out: &mut Vec<Tile>| {
            out.clear();
            out.extend(entries.map(|entry| kernel.expand(&self.table.weights[entry as usize], monomials)));
        };
        let (mut monomials, mut weights) = (vec![Vec::new(); TILES], vec![Vec::new(); TILES]);
        for (tile, (monomials, weights)) in monomials.iter_mut().zip(&mut weights).enumerate() {
            monomials.extend(self.table.monomials.iter().map(|m| m[span.clone()].as_chunks().0[tile]));
            if small {
                expand(monomials, &mut (0..self.table.weights.len() as u32), weights);
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
            let bias = biases.of(row.output).get(span.clone());
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
}

/// The largest table of weights that is expanded as a whole (512 KiB for a span).
const TABLE: usize = 512;
