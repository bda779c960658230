//! A segment on one tile of residues: all its steps in the cache.

use std::mem;

use super::accumulate::{Prime, Products};
use super::kernel::{self, OWN_PLACES, Spans, TILE, Tile};
use super::matrix::{BLOCK_ROWS, Block, ScalarMatrix};
use super::segment::{SPAN, Segment, Step};
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
        let mut capacity = values * size.max(neighbours(values));
        for stage in &self.stages {
            (values, size) = Self::shape_after(stage, values, size);
            capacity = capacity.max(values * size);
        }
        capacity
    }

    /// Takes spans of [`SPAN`] residues through all stages: from the inputs', ordered `[polynomial][input]`, to the
    /// outputs', ordered `[output][polynomial]`. `first` says that residue 0 is among them.
    pub fn run(&self, inputs: &[&[u64]], panels: &mut Panels, outputs: &mut [&mut [u64]], first: bool) {
        if let [Stage::Affine { matrix, products, bias, squared: false }] = &self.stages[..] {
            let affine = AffineStage { pass: self, matrix, products, bias, first, size: self.size };
            return affine.alone(inputs, &mut panels.current, outputs);
        }
        for offset in (0..SPAN).step_by(TILE) {
            self.run_tile(inputs, panels, outputs, offset, first && offset == 0);
        }
    }

    /// Takes one tile through all stages: the residues from `offset` of the spans.
    fn run_tile(&self, inputs: &[&[u64]], panels: &mut Panels, outputs: &mut [&mut [u64]], offset: usize, first: bool) {
        let (mut values, mut size) = (self.values, self.size);
        for (input, tile) in inputs.iter().zip(panels.current.chunks_exact_mut(1)) {
            kernel::load(self.backend, &self.prime, &input[offset..offset + TILE], tile, 1);
        }
        let mut upcoming = Upcoming::new(inputs, offset + TILE, TILE, self.blocks());
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

/// The inputs' next residues, which are fetched from memory while these are computed, a few with
/// each block.
struct Upcoming<'a> {
    spans: std::slice::Iter<'a, &'a [u64]>,
    offset: usize,
    len: usize,
    batch: usize,
}

impl<'a> Upcoming<'a> {
    /// `len` residues from `offset` of each span, in the course of `blocks` blocks.
    fn new(spans: &'a [&'a [u64]], offset: usize, len: usize, blocks: usize) -> Self {
        Self { spans: spans.iter(), offset, len, batch: spans.len().div_ceil(blocks.max(1)) }
    }

    fn prefetch(&mut self) {
        for span in self.spans.by_ref().take(self.batch) {
            kernel::prefetch(span, self.offset, self.len);
        }
    }
}

/// Tiles of a value that a map on its own takes at a time: as many as leave room in the L2 cache, a mebibyte or more,
/// for the next ones.
fn neighbours(columns: usize) -> usize {
    const ROOM: usize = (512 << 10) / size_of::<Tile>();
    const MOST: usize = SPAN / TILE;
    [MOST, MOST / 2].into_iter().find(|width| width * columns <= ROOM).unwrap_or(1)
}

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
    /// A segment of one map, from the inputs' spans to the outputs', a polynomial at a time.
    ///
    /// There is little to compute for what is read and written, and memory that is read and written in turn, a tile
    /// here and a tile there, is slow. So each block of sums is computed for a few neighbouring tiles before the next.
    fn alone(&self, inputs: &[&[u64]], panel: &mut [Tile], outputs: &mut [&mut [u64]]) {
        let (columns, width) = (self.matrix.columns(), neighbours(self.matrix.columns()));
        for offset in (0..SPAN).step_by(width * TILE) {
            for poly in 0..self.size {
                let (spans, later) = inputs[poly * columns..].split_at(columns);
                for (column, span) in spans.iter().enumerate() {
                    let residues = &span[offset..offset + width * TILE];
                    kernel::load(self.pass.backend, &self.pass.prime, residues, &mut panel[column..], columns);
                }
                let (next, place) = match later.is_empty() {
                    false => (&later[..columns], offset),
                    true => (&inputs[..columns], offset + width * TILE),
                };
                let mut upcoming = Upcoming::new(next, place, width * TILE, self.products.len());
                for (block, products) in self.matrix.blocks().zip(self.products) {
                    upcoming.prefetch();
                    let tiles = AffineStage { first: self.first && offset == 0, ..*self };
                    let mut spans = Spans { outputs, size: self.size, poly, offset, tiles: width };
                    tiles.store(block, products, &panel[..width * columns], &mut spans);
                }
            }
        }
    }

    /// Sums, to their places in `next`.
    fn plain(&self, current: &[Tile], next: &mut [Tile], upcoming: &mut Upcoming<'_>) {
        let rows = self.matrix.rows();
        for (block, products) in self.matrix.blocks().zip(self.products) {
            upcoming.prefetch();
            for (poly, panel) in self.polynomials(current) {
                self.sums(block, products, poly, panel, &mut next[poly * rows..(poly + 1) * rows], block.rows);
            }
        }
    }

    /// Sums, to the outputs: the memory is busy with one block while the next is computed.
    fn stored(&self, current: &[Tile], outputs: &mut [&mut [u64]], offset: usize, upcoming: &mut Upcoming<'_>) {
        for (block, products) in self.matrix.blocks().zip(self.products) {
            upcoming.prefetch();
            for (poly, panel) in self.polynomials(current) {
                self.store(block, products, panel, &mut Spans { outputs, size: self.size, poly, offset, tiles: 1 });
            }
        }
    }

    /// The sums of a block for one polynomial, whose part of a panel is given for each tile, to their places in `spans`.
    fn store(&self, block: Block<'_>, products: &Products, panels: &[Tile], spans: &mut Spans<'_, '_>) {
        let Pass { backend, prime, form, .. } = self.pass;
        let bias = self.biases(block, spans.poly);
        let everywhere = if *form == Form::Ntt { bias } else { [0; BLOCK_ROWS] };
        kernel::affine_stored(*backend, prime, block, products, panels, &everywhere[..block.rows.len()], spans);
        if *form == Form::Coefficient && self.first {
            for (&row, bias) in block.rows.iter().zip(bias) {
                let constant = &mut spans.row(row)[0];
                *constant = prime.modulus.add(*constant, prime.modulus.reduce_signed(bias));
            }
        }
    }

    /// What the sums of a block begin with, for one polynomial.
    fn biases(&self, block: Block<'_>, poly: usize) -> [i64; BLOCK_ROWS] {
        let mut bias = [0; BLOCK_ROWS];
        if poly == 0 {
            bias.iter_mut().zip(block.rows).for_each(|(bias, &row)| *bias = self.bias[row as usize]);
        }
        bias
    }

    /// Squares of sums, to their places in `next`: the sums of a block stay in the L1 cache.
    fn squared(&self, current: &[Tile], next: &mut [Tile], upcoming: &mut Upcoming<'_>) {
        let rows = self.matrix.rows();
        let mut sums = vec![Tile::ZERO; self.size * BLOCK_ROWS];
        for (block, products) in self.matrix.blocks().zip(self.products) {
            upcoming.prefetch();
            for ((poly, panel), sums) in self.polynomials(current).zip(sums.chunks_exact_mut(BLOCK_ROWS)) {
                self.sums(block, products, poly, panel, sums, &OWN_PLACES[..block.rows.len()]);
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

    /// The polynomials' parts of a panel.
    fn polynomials<'p>(&self, panel: &'p [Tile]) -> impl Iterator<Item = (usize, &'p [Tile])> {
        let columns = self.matrix.columns();
        (0..self.size).map(move |poly| (poly, &panel[poly * columns..(poly + 1) * columns]))
    }

    /// The sums of a block for one polynomial, whose part of a panel is given, to `out[at[..]]`.
    fn sums(&self, block: Block<'_>, products: &Products, poly: usize, panel: &[Tile], out: &mut [Tile], at: &[u32]) {
        let Pass { backend, prime, form, .. } = self.pass;
        let bias = self.biases(block, poly);
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
