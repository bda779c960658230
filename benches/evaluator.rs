//! The evaluator and Microsoft SEAL's on the same ciphertexts, on one core: `cargo bench --bench evaluator`.
//!
//! Criterion's groups hold the two side by side, `ours` and `seal`; both write to memory of their own.

use criterion::{Criterion, criterion_group, criterion_main};
use pycrcnn::evaluator::Evaluator;
use pycrcnn::ring::primes;
use pycrcnn::scheme::{Ciphertext, Context, EvaluationKeys, Form, Parameters, Plaintext, SecretKey};
use pycrcnn::seal::{Loaded, SealSession};

/// Keys and both evaluators for one set of parameters.
struct Bench {
    name: String,
    seal: SealSession,
    secret: SecretKey,
    keys: EvaluationKeys,
    ours: Evaluator,
}

impl Bench {
    fn new(parameters: Parameters) -> Self {
        let context = Context::new(parameters).unwrap();
        let name =
            format!("{:?} N={} primes={}", context.parameters().scheme(), context.degree(), context.data_primes());
        let switches = context.parameters().key_switching();
        let seal = if switches { SealSession::new(&context) } else { SealSession::with_spare_prime(&context) }.unwrap();
        let (secret, _) = seal.generate_keys().unwrap();
        let mut keys = EvaluationKeys { parms_id: context.key_parms_id(), ..Default::default() };
        if switches {
            keys.relinearization = Some(seal.relinearization_key(&secret).unwrap());
            keys.galois = seal.rotation_keys(&secret, &[1]).unwrap();
        }
        Self { name, seal, secret, keys, ours: Evaluator::new(context) }
    }

    fn encrypt(&self, plaintext: &Plaintext) -> Ciphertext {
        self.seal.encrypt_symmetric(&self.secret, plaintext).unwrap()
    }

    /// One operation, done by both.
    fn compare(
        &self,
        criterion: &mut Criterion,
        operation: &str,
        a: &Ciphertext,
        ours: impl Fn(&Evaluator, &Ciphertext) -> Ciphertext,
        seal: impl Fn(&Loaded, &mut Loaded),
    ) {
        let mut group = criterion.benchmark_group(format!("{}/{operation}", self.name));
        group.bench_function("ours", |bencher| bencher.iter(|| ours(&self.ours, a)));
        let (a, mut out) = (self.seal.load(a).unwrap(), Loaded::empty().unwrap());
        group.bench_function("seal", |bencher| bencher.iter(|| seal(&a, &mut out)));
        group.finish();
    }

    fn key_switching(&self, criterion: &mut Criterion, a: &Ciphertext) {
        let evaluator = self.seal.evaluator();
        let square = self.ours.square(a).unwrap();
        let key = self.seal.load_relinearization_key(self.keys.relinearization.as_ref().unwrap()).unwrap();
        let ours = |e: &Evaluator, a: &Ciphertext| e.relinearize(a, &self.keys).unwrap();
        self.compare(criterion, "relinearize", &square, ours, |a, out| evaluator.relinearize(a, &key, out).unwrap());
    }
}

fn bfv(criterion: &mut Criterion) {
    for (degree, whole) in [(4096, false), (4096, true), (8192, false)] {
        let moduli = primes::bfv_default(degree, 128).unwrap().to_vec();
        let t = primes::largest(2 * degree as u64, 20, 1).unwrap()[0];
        let bench = Bench::new(Parameters::bfv(degree, moduli, !whole, t).unwrap());
        let evaluator = bench.seal.evaluator();
        let plaintext = Plaintext::Bfv((0..degree as u64).map(|i| i * i % t).collect());
        let a = bench.encrypt(&plaintext);
        let square = |e: &Evaluator, a: &Ciphertext| e.square(a).unwrap();
        bench.compare(criterion, "square", &a, square, |a, out| evaluator.square(a, out).unwrap());
        let factor = bench.seal.load_plaintext(&plaintext).unwrap();
        let multiply = |e: &Evaluator, a: &Ciphertext| e.multiply_plain(a, &plaintext).unwrap();
        bench.compare(criterion, "multiply_plain", &a, multiply, |a, out| {
            evaluator.multiply_plain(a, &factor, out).unwrap()
        });
        if !whole {
            bench.key_switching(criterion, &a);
            let ours = |e: &Evaluator, a: &Ciphertext| e.mod_switch_to_next(a).unwrap();
            bench.compare(criterion, "mod_switch", &a, ours, |a, out| evaluator.mod_switch_to_next(a, out).unwrap());
        }
        // the steps of a square, for pipelines that stop between them
        let lifted = bench.ours.lift(&a).unwrap();
        let product = bench.ours.tensor_square(&lifted).unwrap();
        let mut group = criterion.benchmark_group(format!("{}/square by steps", bench.name));
        group.bench_function("lift", |bencher| bencher.iter(|| bench.ours.lift(&a).unwrap()));
        group.bench_function("tensor_square", |bencher| bencher.iter(|| bench.ours.tensor_square(&lifted).unwrap()));
        group.bench_function("scale_down", |bencher| {
            let scale_down = |product| bench.ours.scale_down(product, Form::Coefficient).unwrap();
            bencher.iter_batched(|| product.clone(), scale_down, criterion::BatchSize::LargeInput)
        });
        group.finish();
    }
}

fn ckks(criterion: &mut Criterion) {
    for (degree, bits) in [(8192, &[50, 40, 40, 50][..]), (16384, &[50; 8][..])] {
        let moduli = primes::create(degree, bits).unwrap();
        let bench = Bench::new(Parameters::ckks(degree, moduli, true).unwrap());
        let evaluator = bench.seal.evaluator();
        let slots: Vec<f64> = (0..degree / 2).map(|i| (i as f64 * 0.37).sin()).collect();
        let a = bench.encrypt(&bench.seal.ckks_encode(&slots, bits.len() - 1, 2f64.powi(40)).unwrap());
        let square = |e: &Evaluator, a: &Ciphertext| e.square(a).unwrap();
        bench.compare(criterion, "square", &a, square, |a, out| evaluator.square(a, out).unwrap());
        bench.key_switching(criterion, &a);
        let rescale = |e: &Evaluator, a: &Ciphertext| e.rescale_to_next(a).unwrap();
        bench.compare(criterion, "rescale", &a, rescale, |a, out| evaluator.rescale_to_next(a, out).unwrap());
        let galois = bench.seal.load_galois_keys(&bench.keys.galois).unwrap();
        let rotate = |e: &Evaluator, a: &Ciphertext| e.rotate_vector(a, 1, &bench.keys).unwrap();
        bench.compare(criterion, "rotate", &a, rotate, |a, out| evaluator.rotate_vector(a, 1, &galois, out).unwrap());
    }
}

criterion_group! {
    name = evaluator;
    config = Criterion::default().sample_size(30).warm_up_time(std::time::Duration::from_millis(300)).measurement_time(std::time::Duration::from_millis(1500));
    targets = bfv, ckks
}
criterion_main!(evaluator);
