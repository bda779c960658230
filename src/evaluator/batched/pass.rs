//! A segment on one tile of residues: all its steps in the cache.

use std::mem;

use super::accumulate::{Prime, Products};
use super::kernel::{self, TILE, Tile};
use super::matrix::{BLOCK_ROWS, Block, ScalarMatrix};
use super::segment::{Segment, Step};
use crate::error::Result;
use crate::ring::backend::Backend;
use crate::scheme::{Ciphertext, Context, Form};

/// Two panels that a task works in: `[polynomial][value]` tiles.
pub(super) struct Panels {
    pub current: Vec<Tile>,
    pub next: Vec<Tile>,
}

/// A segment prepared for one prime.
pub(super) struct Pass<'a> {
    backend: Backend,
    prime: Prime,
    form: Form,
    /// the inputs' number and size
    values: usize,
    size: usize,
    stages: Vec<Stage<'a>>,
}

/// What is done in one sweep over a panel.
enum Stage<'a> {
    /// a block of sums after another, each squared at once where a square follows
    Affine { matrix: &'a ScalarMatrix, products: Vec<Products>, bias: Vec<i64>, squared: bool },
    /// a square that follows no affine map
    Square,
}

impl<'a> Pass<'a> {
    pub fn new(
        segment: &'a Segment,
        backend: Backend,
        context: &Context,
        j: usize,
        input: &Ciphertext,
    ) -> Result<Self> {
        let prime = Prime::new(context.modulus(j));
        let backend = kernel::serving(backend, &prime);
        let mut stages: Vec<Stage<'a>> = Vec::new();
        for step in segment.steps() {
            match (step, stages.last_mut()) {
                (Step::Square, Some(Stage::Affine { squared: squared @ false, .. })) => *squared = true,
                (Step::Square, _) => stages.push(Stage::Square),
                (Step::Affine(affine), _) => stages.push(Stage::Affine {
                    matrix: affine.matrix(),
                    products: affine.matrix().blocks().map(|block| kernel::products(backend, block, &prime)).collect(),
                    bias: affine.balanced_bias(&prime, j, input.primes())?,
                    squared: false,
                }),
            }
        }
        Ok(Self { backend, prime, form: input.form(), values: segment.inputs(), size: input.size(), stages })
    }

    /// Values and polynomials after a stage that gets `values` values of `size` polynomials.
    fn shape_after(stage: &Stage<'_>, values: usize, size: usize) -> (usize, usize) {
        match stage {
            Stage::Affine { matrix, squared: false, .. } => (matrix.rows(), size),
            Stage::Affine { matrix, squared: true, .. } => (matrix.rows(), 2 * size - 1),
            Stage::Square => (values, 2 * size - 1),
        }
    }

    /// The number of blocks of all affine maps.
    fn blocks(&self) -> usize {
        let blocks = |stage: &Stage<'_>| if let Stage::Affine { products, .. } = stage { products.len() } else { 0 };
        self.stages.iter().map(blocks).sum()
    }

    /// The number of tiles of the largest panel.
    pub fn capacity(&self) -> usize {
        let (mut values, mut size) = (self.values, self.size);
        let mut capacity = values * size;
        for stage in &self.stages {
            (values, size) = Self::shape_after(stage, values, size);
            capacity = capacity.max(values * size);
        }
        capacity
    }

    /// Takes one tile through all stages: the residues from `offset` of the inputs' spans, which are
    /// ordered `[polynomial][input]`, to those of the outputs', ordered `[output][polynomial]`.
    /// `first` says that residue 0 is among them.
    pub fn run(&self, inputs: &[&[u64]], panels: &mut Panels, outputs: &mut [&mut [u64]], offset: usize, first: bool) {
        let (mut values, mut size) = (self.values, self.size);
        for (input, tile) in inputs.iter().zip(&mut panels.current) {
            kernel::load(self.backend, &self.prime, &input[offset..offset + TILE], tile);
        }
        let mut upcoming = Upcoming {
            spans: inputs.iter(),
            offset: offset + TILE,
            batch: inputs.len().div_ceil(self.blocks().max(1)),
        };
        for (i, stage) in self.stages.iter().enumerate() {
            let (next_values, next_size) = Self::shape_after(stage, values, size);
            let (current, next) = (&panels.current[..values * size], &mut panels.next[..next_values * next_size]);
            match stage {
                Stage::Affine { matrix, products, bias, squared } => {
                    let affine = AffineStage { pass: self, matrix, products, bias, first, size };
                    if *squared {
                        affine.squared(current, next, &mut upcoming)
                    } else if i + 1 == self.stages.len() {
                        return affine.stored(current, outputs, offset, &mut upcoming);
                    } else {
                        affine.plain(current, next, &mut upcoming)
                    }
                }
                Stage::Square => {
                    for value in 0..values {
                        kernel::square(
                            self.backend,
                            &self.prime,
                            size,
                            &current[value..],
                            values,
                            &mut next[value..],
                            values,
                        );
                    }
                }
            }
            mem::swap(&mut panels.current, &mut panels.next);
            (values, size) = (next_values, next_size);
        }
        for (i, output) in outputs.iter_mut().enumerate() {
            let (value, poly) = (i / size, i % size);
            kernel::store(
                self.backend,
                &self.prime,
                &panels.current[poly * values + value],
                &mut output[offset..offset + TILE],
            );
        }
    }
}

/// The inputs' next tiles, which are fetched from memory while this one is computed, a few with
/// each block.
struct Upcoming<'a> {
    spans: std::slice::Iter<'a, &'a [u64]>,
    offset: usize,
    batch: usize,
}

impl Upcoming<'_> {
    fn prefetch(&mut self) {
        for span in self.spans.by_ref().take(self.batch) {
            kernel::prefetch(span, self.offset);
        }
    }
}

/// The places of a block's sums in a buffer of their own.
const OWN_PLACES: [u32; BLOCK_ROWS] = [0, 1, 2, 3, 4];

/// An affine stage on one tile.
struct AffineStage<'a> {
    pass: &'a Pass<'a>,
    matrix: &'a ScalarMatrix,
    products: &'a [Products],
    bias: &'a [i64],
    /// whether the tile holds residue 0, which is where a constant stands in coefficient form
    first: bool,
    size: usize,
}

impl AffineStage<'_> {
    /// Sums, to their places in `next`.
    fn plain(&self, current: &[Tile], next: &mut [Tile], upcoming: &mut Upcoming<'_>) {
        let rows = self.matrix.rows();
        for (block, products) in self.matrix.blocks().zip(self.products) {
            upcoming.prefetch();
            for poly in 0..self.size {
                self.sums(block, products, poly, current, &mut next[poly * rows..(poly + 1) * rows], block.rows);
            }
        }
    }

    /// Sums, to the outputs: the memory is busy with one block while the next is computed.
    fn stored(&self, current: &[Tile], outputs: &mut [&mut [u64]], offset: usize, upcoming: &mut Upcoming<'_>) {
        let Pass { backend, prime, .. } = self.pass;
        let mut sums = [Tile::ZERO; BLOCK_ROWS];
        for (block, products) in self.matrix.blocks().zip(self.products) {
            upcoming.prefetch();
            for poly in 0..self.size {
                self.sums(block, products, poly, current, &mut sums, &OWN_PLACES[..block.rows.len()]);
                for (sum, &row) in sums.iter().zip(block.rows) {
                    let output = &mut outputs[row as usize * self.size + poly];
                    kernel::store(*backend, prime, sum, &mut output[offset..offset + TILE]);
                }
            }
        }
    }

    /// Squares of sums, to their places in `next`: the sums of a block stay in the L1 cache.
    fn squared(&self, current: &[Tile], next: &mut [Tile], upcoming: &mut Upcoming<'_>) {
        let rows = self.matrix.rows();
        let mut sums = vec![Tile::ZERO; self.size * BLOCK_ROWS];
        for (block, products) in self.matrix.blocks().zip(self.products) {
            upcoming.prefetch();
            for (poly, sums) in sums.chunks_exact_mut(BLOCK_ROWS).enumerate() {
                self.sums(block, products, poly, current, sums, &OWN_PLACES[..block.rows.len()]);
            }
            for (o, &row) in block.rows.iter().enumerate() {
                kernel::square(
                    self.pass.backend,
                    &self.pass.prime,
                    self.size,
                    &sums[o..],
                    BLOCK_ROWS,
                    &mut next[row as usize..],
                    rows,
                );
            }
        }
    }

    /// The sums of a block for one polynomial, to `out[at[..]]`.
    fn sums(&self, block: Block<'_>, products: &Products, poly: usize, current: &[Tile], out: &mut [Tile], at: &[u32]) {
        let Pass { backend, prime, form, .. } = self.pass;
        let columns = self.matrix.columns();
        let panel = &current[poly * columns..(poly + 1) * columns];
        let mut bias = [0; BLOCK_ROWS];
        if poly == 0 {
            bias.iter_mut().zip(block.rows).for_each(|(bias, &row)| *bias = self.bias[row as usize]);
        }
        let everywhere = if *form == Form::Ntt { bias } else { [0; BLOCK_ROWS] };
        kernel::affine(*backend, prime, block, products, panel, &everywhere[..at.len()], out, at);
        if *form == Form::Coefficient && self.first {
            for (&at, bias) in at.iter().zip(bias) {
                let constant = &mut out[at as usize].0[0];
                *constant = prime.reduce((*constant + bias).into());
            }
        }
    }
}
