//! Kernels against Microsoft SEAL's, timed in turn in one run, on one thread: `pycrcnn bench kernels`.

use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::work;
use crate::error::Result;
use crate::evaluator::Evaluator;
use crate::evaluator::batched::{ScalarAffine, ScalarMatrix, Segment, Step};
use crate::ring::backend::Backend;
use crate::ring::primes;
use crate::runtime::Cancellation;
use crate::scheme::{Ciphertext, Context, EvaluationKeys, Form, Parameters, Plaintext, SecretKey};
use crate::seal::{Loaded, SealSession};

/// Smallest, median and largest of some times, in microseconds.
struct Times {
    min: f64,
    median: f64,
    max: f64,
}

impl Times {
    /// Of one unit where each run did `units`.
    fn of(mut seconds: Vec<f64>, units: f64) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |i: usize| seconds[i] * 1e6 / units;
        Self { min: at(0), median: at(seconds.len() / 2), max: at(seconds.len() - 1) }
    }
}

/// One kernel's times, and SEAL's where it has the same.
struct Row {
    kernel: &'static str,
    degree: usize,
    primes: usize,
    ours: Times,
    seal: Option<Times>,
    /// multiply-adds of one run, for affine maps
    products: Option<f64>,
}

/// Rounds of each pair; ours and SEAL's take turns, so that a slow moment hits both.
const ROUNDS: usize = 15;

/// How long one turn lasts at least, in seconds: long enough for its data to be in the cache.
const TURN: f64 = 0.005;

/// Times `ours` and `seal`; each run of them does `units` of what is reported.
fn compare(
    units: f64,
    mut ours: impl FnMut() -> Result<()>,
    mut seal: impl FnMut() -> Result<()>,
) -> Result<(Times, Times)> {
    let our_runs = runs(&mut ours)?;
    let seal_runs = runs(&mut seal)?;
    let (mut our_times, mut seal_times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        our_times.push(turn(our_runs, &mut ours)?);
        seal_times.push(turn(seal_runs, &mut seal)?);
    }
    Ok((Times::of(our_times, units), Times::of(seal_times, units)))
}

/// How many runs make a turn; the first, which warms tables up, does not count.
fn runs(work: &mut impl FnMut() -> Result<()>) -> Result<usize> {
    work()?;
    let one = turn(1, work)?;
    Ok((TURN / one).ceil().clamp(1.0, 1000.0) as usize)
}

/// The seconds of one of some runs.
fn turn(runs: usize, work: &mut impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..runs {
        work()?;
    }
    Ok(start.elapsed().as_secs_f64() / runs as f64)
}

/// Keys and both evaluators for one set of parameters.
struct Bench {
    seal: SealSession,
    secret: SecretKey,
    keys: EvaluationKeys,
    ours: Evaluator,
}

impl Bench {
    fn new(parameters: Parameters) -> Result<Self> {
        let context = Context::new(parameters)?;
        let seal = SealSession::new(&context)?;
        let (secret, _) = seal.generate_keys()?;
        let keys = EvaluationKeys {
            parms_id: context.key_parms_id(),
            relinearization: Some(seal.relinearization_key(&secret)?),
            ..Default::default()
        };
        Ok(Self { seal, secret, keys, ours: Evaluator::new(context) })
    }

    fn encrypt(&self, plaintext: &Plaintext) -> Result<Ciphertext> {
        self.seal.encrypt_symmetric(&self.secret, plaintext)
    }

    fn row(
        &self,
        kernel: &'static str,
        a: &Ciphertext,
        units: f64,
        mut ours: impl FnMut(&Evaluator, &EvaluationKeys) -> Result<()>,
        mut seal: impl FnMut(&Loaded, &mut Loaded) -> Result<()>,
    ) -> Result<Row> {
        let (loaded, mut out) = (self.seal.load(a)?, Loaded::empty()?);
        let (ours, seal) = compare(units, || ours(&self.ours, &self.keys), || seal(&loaded, &mut out))?;
        let degree = self.ours.context().degree();
        Ok(Row { kernel, degree, primes: a.primes(), ours, seal: Some(seal), products: None })
    }

    fn relinearize(&self, kernel: &'static str, a: &Ciphertext) -> Result<Row> {
        let square = self.ours.square(a)?;
        let seal = self.seal.evaluator();
        let key = self.seal.load_relinearization_key(self.keys.relinearization.as_ref().expect("made with it"))?;
        let input = square.clone();
        self.row(
            kernel,
            &square,
            1.0,
            |e, keys| e.relinearize(&input, keys).map(drop),
            |a, out| seal.relinearize(a, &key, out),
        )
    }
}

/// NTT, square, relinearisation of BFV at N = 4096 with SEAL's default primes.
fn bfv() -> Result<Vec<Row>> {
    let moduli = primes::bfv_default(4096, 128).unwrap_or_default().to_vec();
    let t = primes::largest(8192, 20, 1)?[0];
    let bench = Bench::new(Parameters::bfv(4096, moduli, true, t)?)?;
    let a = bench.encrypt(&Plaintext::Bfv((0..4096).map(|i| i * i % t).collect()))?;
    let seal = bench.seal.evaluator();
    let square = bench.row("bfv_square", &a, 1.0, |e, _| e.square(&a).map(drop), |a, out| seal.square(a, out))?;
    Ok(vec![square, bench.relinearize("bfv_relinearize", &a)?])
}

/// NTT, square, relinearisation and rescaling of CKKS.
fn ckks(degree: usize, bits: &[u32], ntt_only: bool) -> Result<Vec<Row>> {
    let moduli = primes::create(degree, bits)?;
    let bench = Bench::new(Parameters::ckks(degree, moduli, true)?)?;
    let slots: Vec<f64> = (0..degree / 2).map(|i| (i as f64 * 0.37).sin()).collect();
    let a = bench.encrypt(&bench.seal.ckks_encode(&slots, bits.len() - 1, 2f64.powi(38))?)?;
    let seal = bench.seal.evaluator();
    let mut rows = Vec::new();
    let context = bench.ours.context().clone();
    let polynomials = (a.size() * a.primes()) as f64;
    let mut buffer = a.clone();
    let each = |buffer: &mut Ciphertext, transform: &dyn Fn(usize, &mut [u64])| {
        let primes = buffer.primes();
        for (i, residues) in buffer.data_mut().chunks_exact_mut(degree).enumerate() {
            transform(i % primes, residues);
        }
    };
    let coefficients = bench.ours.to_coefficients(&a)?;
    let forward = |_: &Evaluator, _: &EvaluationKeys| {
        each(&mut buffer, &|j, x| context.tables()[j].forward(x));
        Ok(())
    };
    rows.push(bench.row("ntt_forward", &coefficients, polynomials, forward, |a, out| seal.transform_to_ntt(a, out))?);
    let mut buffer = a.clone();
    let inverse = |_: &Evaluator, _: &EvaluationKeys| {
        each(&mut buffer, &|j, x| context.tables()[j].inverse(x));
        Ok(())
    };
    rows.push(bench.row("ntt_inverse", &a, polynomials, inverse, |a, out| seal.transform_from_ntt(a, out))?);
    if !ntt_only {
        rows.push(bench.row("ckks_square", &a, 1.0, |e, _| e.square(&a).map(drop), |a, out| seal.square(a, out))?);
        rows.push(bench.relinearize("ckks_relinearize", &a)?);
        rows.push(bench.row(
            "ckks_rescale",
            &a,
            1.0,
            |e, _| e.rescale_to_next(&a).map(drop),
            |a, out| seal.rescale_to_next(a, out),
        )?);
    }
    Ok(rows)
}

/// A dense map and a convolution of 9 taps with 4 filters on ciphertexts of N = 4096 and two 36-bit primes, 10-bit
/// weights. SEAL's time is that of as many multiplications by a constant and additions, from one of each.
fn affine(cancellation: &Cancellation) -> Result<Vec<Row>> {
    let moduli = primes::bfv_default(4096, 128).unwrap_or_default().to_vec();
    let t = primes::largest(8192, 20, 1)?[0];
    let bench = Bench::new(Parameters::bfv(4096, moduli, true, t)?)?;
    let context = bench.ours.context().clone();
    let weight = |i: usize| (i * 7919 % 1021) as i64 - 510;
    let dense = ScalarMatrix::dense(845, &(0..100 * 845).map(weight).collect::<Vec<_>>())?;
    let (mut offsets, mut columns, mut weights) = (vec![0], Vec::new(), Vec::new());
    for filter in 0..4 {
        for (y, x) in (0..18).flat_map(|y| (0..18).map(move |x| (y, x))) {
            for tap in 0..9 {
                columns.push(((y + tap / 3) * 20 + x + tap % 3) as u32);
                weights.push(weight(filter * 9 + tap));
            }
            offsets.push(columns.len());
        }
    }
    let convolution = ScalarMatrix::new(400, &offsets, &columns, &weights)?;
    let fused = vec![
        Step::Affine(ScalarAffine::linear(convolution.clone())),
        Step::Square,
        Step::Affine(ScalarAffine::linear(ScalarMatrix::dense(1296, &(0..10 * 1296).map(weight).collect::<Vec<_>>())?)),
    ];
    let a = bench.encrypt(&Plaintext::Bfv(vec![1, 2, 3]))?;
    let seal = bench.seal.evaluator();
    let (loaded, factor) = (bench.seal.load(&a)?, bench.seal.load_plaintext(&Plaintext::Bfv(vec![7]))?);
    let (mut product, mut sum) = (Loaded::empty()?, Loaded::empty()?);
    let mut rows = Vec::new();
    for (kernel, matrix) in [("affine_dense", dense), ("affine_convolution", convolution)] {
        let (inputs, nonzeros) = (matrix.columns(), matrix.nonzeros() as f64);
        let segment = Segment::new(inputs, vec![Step::Affine(ScalarAffine::linear(matrix))])?;
        let mut ciphertexts = vec![a.clone(); inputs];
        for (i, ciphertext) in ciphertexts.iter_mut().enumerate() {
            ciphertext.data_mut().rotate_left(i % 4096 * 2);
            ciphertext
                .data_mut()
                .iter_mut()
                .for_each(|x| *x %= context.modulus(0).value().min(context.modulus(1).value()));
        }
        let inputs: Vec<&Ciphertext> = ciphertexts.iter().collect();
        // both write to memory that exists
        let backend = Backend::current()?;
        let mut outputs = segment.run(&context, &inputs, 1.0, cancellation)?;
        let ours = || segment.run_into(backend, &context, &inputs, &mut outputs, cancellation);
        let one =
            || seal.multiply_plain(&loaded, &factor, &mut product).and_then(|()| seal.add(&loaded, &loaded, &mut sum));
        let (ours, mut each) = compare(1.0, ours, one)?;
        for time in [&mut each.min, &mut each.median, &mut each.max] {
            *time *= nonzeros;
        }
        let products = nonzeros * (2 * a.primes() * context.degree()) as f64;
        let degree = context.degree();
        rows.push(Row { kernel, degree, primes: a.primes(), ours, seal: Some(each), products: Some(products) });
    }
    rows.push(segment(400, fused, cancellation)?);
    Ok(rows)
}

/// The same convolution, squares and ten weighted sums of them, on CKKS ciphertexts: what lies between stays in the cache.
fn segment(inputs: usize, steps: Vec<Step>, cancellation: &Cancellation) -> Result<Row> {
    let context = Context::new(Parameters::ckks(4096, primes::create(4096, &[38, 38])?, false)?)?;
    let mut products = 0;
    let mut size = 2;
    for step in &steps {
        match step {
            Step::Affine(affine) => products += affine.matrix().nonzeros() * size * 2 * context.degree(),
            Step::Square => size = 2 * size - 1,
        }
    }
    let segment = Segment::new(inputs, steps)?;
    let q = context.modulus(0).value().min(context.modulus(1).value());
    let ciphertexts: Vec<Ciphertext> = (0..inputs as u64)
        .map(|i| {
            let mut ciphertext = Ciphertext::zero(&context, 2, 2, Form::Ntt, 1.0);
            let residues = ciphertext.data_mut().iter_mut().zip(i..);
            residues.for_each(|(residue, x)| *residue = x.wrapping_mul(0x9E37_79B9_7F4A_7C15) % q);
            ciphertext
        })
        .collect();
    let inputs: Vec<&Ciphertext> = ciphertexts.iter().collect();
    let mut work = || segment.run(&context, &inputs, 1.0, cancellation).map(drop);
    let runs = runs(&mut work)?;
    let times = (0..ROUNDS).map(|_| turn(runs, &mut work)).collect::<Result<Vec<f64>>>()?;
    let ours = Times::of(times, 1.0);
    let kernel = "segment_convolution_square_dense";
    Ok(Row { kernel, degree: 4096, primes: 2, ours, seal: None, products: Some(products as f64) })
}

/// Times the kernels, as one dictionary each.
#[pyfunction]
pub fn bench_kernels(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let rows = work::run(py, 1, |cancellation| {
        let mut rows = Vec::new();
        for (degree, bits, ntt_only) in
            [(4096, &[36, 36, 37][..], true), (8192, &[50, 40, 40, 50], false), (16384, &[49; 8], false)]
        {
            cancellation.check()?;
            rows.extend(ckks(degree, bits, ntt_only)?);
        }
        cancellation.check()?;
        rows.extend(bfv()?);
        rows.extend(affine(cancellation)?);
        Ok(rows)
    })?;
    rows.into_iter()
        .map(|row| {
            let result = PyDict::new(py);
            result.set_item("kernel", row.kernel)?;
            result.set_item("n", row.degree)?;
            result.set_item("primes", row.primes)?;
            let times = |name: &str, times: &Times| -> PyResult<()> {
                result.set_item(name, times.median)?;
                result.set_item(format!("{name}_min"), times.min)?;
                result.set_item(format!("{name}_max"), times.max)
            };
            times("ours_us", &row.ours)?;
            if let Some(seal) = &row.seal {
                times("seal_us", seal)?;
                result.set_item("ratio", seal.median / row.ours.median)?;
            }
            if let Some(products) = row.products {
                result.set_item("gmac_per_s", products / row.ours.median / 1e3)?;
            }
            Ok(result)
        })
        .collect()
}

/// The instruction set that this process uses.
#[pyfunction]
pub fn backend() -> PyResult<&'static str> {
    Ok(Backend::current()?.name())
}
