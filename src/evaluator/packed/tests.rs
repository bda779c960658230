use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::encoding::CkksEncoder;
use crate::encryption::{Decryptor, KeyGenerator, SymmetricEncryptor};
use crate::ring::primes;
use crate::scheme::{Context, EvaluationKeys, KeySwitchKey, Parameters, SecretKey};
use crate::seal::SealSession;

struct Fixture {
    context: Arc<Context>,
    encoder: CkksEncoder,
    evaluator: Evaluator,
    secret: SecretKey,
    session: SealSession,
}

const SCALE: f64 = (1u64 << 30) as f64;

impl Fixture {
    fn new(degree: usize, bits: &[u32]) -> Self {
        let moduli = primes::create(degree, bits).unwrap();
        let context = Context::new(Parameters::ckks(degree, moduli, true).unwrap()).unwrap();
        let session = SealSession::new(&context).unwrap();
        let (secret, _) = session.generate_keys().unwrap();
        let encoder = CkksEncoder::new(context.clone()).unwrap();
        Self { evaluator: Evaluator::new(context.clone()), encoder, context, secret, session }
    }

    /// SEAL's keys, cut down to a level.
    fn keys(&self, steps: &BTreeSet<usize>, level: usize) -> PackedKeys {
        let steps: Vec<i32> = steps.iter().map(|&step| step as i32).collect();
        let cut = |key: KeySwitchKey| {
            let (primes, degree) = (level, self.context.degree());
            let mut data = Residues::zeros(primes * 2 * (primes + 1) * degree);
            for (row, out) in data.chunks_exact_mut(degree).enumerate() {
                let (digit, part, prime) = (row / (2 * (primes + 1)), row / (primes + 1) % 2, row % (primes + 1));
                out.copy_from_slice(key.row(digit, part, prime, primes, degree));
            }
            KeySwitchKey { primes, data }
        };
        let galois = self.session.rotation_keys(&self.secret, &steps).unwrap();
        let keys = EvaluationKeys {
            parms_id: self.context.key_parms_id(),
            relinearization: Some(cut(self.session.relinearization_key(&self.secret).unwrap())),
            galois: galois.into_iter().map(|(element, key)| (element, cut(key))).collect(),
        };
        PackedKeys::new(&self.context, keys).unwrap()
    }

    fn encrypt(&self, values: &[f64], primes: usize) -> Ciphertext {
        let plaintext = self.encoder.encode(values, SCALE, primes).unwrap();
        let encryptor = SymmetricEncryptor::new(self.context.clone(), &self.secret).unwrap();
        encryptor.encrypt(&plaintext, Some(primes)).unwrap()
    }

    fn decrypt(&self, ciphertext: &Ciphertext) -> Vec<f64> {
        let decryptor = Decryptor::new(self.context.clone(), &self.secret).unwrap();
        self.encoder.decode(&decryptor.decrypt(ciphertext).unwrap()).unwrap()
    }
}

fn values(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + seed * 104729 + 13) % 2003) as f64 / 1001.5 - 1.0).collect()
}

fn close(got: &[f64], expected: &[f64], tolerance: f64) {
    let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < tolerance, "{worst} is not below {tolerance}");
}

/// The product in clear.
fn expected(groups: &[Group], bias: Option<&[f64]>, x: &[f64]) -> Vec<f64> {
    let n = x.len();
    let mut out = bias.map_or_else(|| vec![0.0; n], <[f64]>::to_vec);
    for group in groups {
        for (baby, diagonal) in &group.diagonals {
            for (i, out) in out.iter_mut().enumerate() {
                let at = (i + group.giant) % n;
                *out += diagonal[at] * x[(at + baby) % n];
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn matrices_multiply_slots(
        giants in prop::collection::btree_set(0usize..512, 1..4),
        babies in prop::collection::btree_set(0usize..512, 1..5),
        level in 2usize..5,
        lower in any::<bool>(),
        with_bias: bool,
        seed in 0usize..1000,
    ) {
        let fixture = Fixture::new(1024, &[40, 30, 30, 30, 45]);
        let n = fixture.encoder.slots();
        let diagonal = |giant: usize, baby: usize| values(n, giant * 31 + baby * 7 + seed);
        let group = |&giant: &usize| Group {
            giant,
            diagonals: babies.iter().map(|&baby| (baby, diagonal(giant, baby))).collect(),
        };
        let groups: Vec<Group> = giants.iter().map(group).collect();
        let bias = with_bias.then(|| values(n, seed + 5));
        let transform =
            LinearTransform::new(&fixture.encoder, level, SCALE, SCALE * 1.5, &groups, bias.as_deref()).unwrap();
        // Keys of a higher level serve a lower one.
        let keys = fixture.keys(&transform.rotations(), if lower { 4 } else { level });
        let x = values(n, seed);
        let product = fixture
            .evaluator
            .linear_transform(&fixture.encrypt(&x, level), &transform, &keys, &Cancellation::new())
            .unwrap();
        prop_assert_eq!((product.primes(), product.size(), product.scale()), (level - 1, 2, SCALE * 1.5));
        close(&fixture.decrypt(&product), &expected(&groups, bias.as_deref(), &x), 1e-4);
    }

    #[test]
    fn rotations_add_up(steps in prop::collection::vec(0usize..512, 1..5), level in 1usize..4, seed in 0usize..1000) {
        let fixture = Fixture::new(1024, &[40, 30, 30, 45]);
        let n = fixture.encoder.slots();
        let keys = fixture.keys(&steps.iter().copied().filter(|&step| step != 0).collect(), level);
        let x = values(n, seed);
        let sum = fixture
            .evaluator
            .sum_rotations(&fixture.encrypt(&x, level), &steps, &keys, &Cancellation::new())
            .unwrap();
        let clear: Vec<f64> = (0..n).map(|i| steps.iter().map(|step| x[(i + step) % n]).sum()).collect();
        close(&fixture.decrypt(&sum), &clear, 1e-4);
    }
}

#[test]
fn squares_come_back_at_the_scale() {
    let fixture = Fixture::new(2048, &[40, 30, 30, 45]);
    let x = values(1024, 3);
    let keys = fixture.keys(&BTreeSet::new(), 3);
    let square = fixture.evaluator.square_rescaled(&fixture.encrypt(&x, 3), &keys, &Cancellation::new()).unwrap();
    assert_eq!((square.primes(), square.size()), (2, 2));
    assert!((square.scale() / SCALE - 1.0).abs() < 0.01);
    close(&fixture.decrypt(&square), &x.iter().map(|x| x * x).collect::<Vec<_>>(), 1e-4);
}

#[test]
fn a_missing_rotation_is_named() {
    let fixture = Fixture::new(1024, &[40, 30, 45]);
    let keys = fixture.keys(&BTreeSet::from([3]), 2);
    let x = fixture.encrypt(&values(512, 1), 2);
    let error = fixture.evaluator.sum_rotations(&x, &[0, 4], &keys, &Cancellation::new()).unwrap_err();
    assert_eq!(error.code(), "missing-key");
    assert!(error.to_string().contains("by 4 slots"), "{error}");
}

#[test]
fn other_levels_and_scales_are_refused() {
    let fixture = Fixture::new(1024, &[40, 30, 30, 45]);
    let keys = fixture.keys(&BTreeSet::new(), 3);
    let groups = [Group { giant: 0, diagonals: vec![(0, values(512, 1))] }];
    let transform = LinearTransform::new(&fixture.encoder, 3, SCALE, SCALE, &groups, None).unwrap();
    let run = |x: &Ciphertext| fixture.evaluator.linear_transform(x, &transform, &keys, &Cancellation::new());
    let low = fixture.encrypt(&values(512, 2), 2);
    assert!(run(&low).unwrap_err().to_string().contains("levels"));
    let mut scaled = fixture.encrypt(&values(512, 2), 3);
    scaled.set_scale(2.0 * SCALE);
    assert!(run(&scaled).unwrap_err().to_string().contains("scales"));
    assert!(run(&fixture.encrypt(&values(512, 2), 3)).is_ok());
}

#[test]
fn keys_made_for_a_level_serve_it_and_those_below() {
    let f = Fixture::new(1024, &[40, 30, 30, 45]);
    let generator = KeyGenerator::new(f.context.clone(), &f.secret).unwrap();
    let rotations = BTreeMap::from([(1, 2), (4, 3)]);
    let seeded = generator.key_set(Some(2), &rotations, &Cancellation::new()).unwrap();
    let keys = seeded.expand(&f.context, &Cancellation::new()).unwrap();
    let values: Vec<f64> = (0..512).map(|i| f64::from(i) / 256.0 - 1.0).collect();
    let close = |ciphertext: Ciphertext, expected: &[f64]| {
        for (value, expected) in f.decrypt(&ciphertext).iter().zip(expected) {
            assert!((value - expected).abs() < 1e-4, "{value} {expected}");
        }
    };
    for (step, primes) in [(1, 1), (1, 2), (4, 1), (4, 3)] {
        let mut expected = values.clone();
        expected.rotate_left(step);
        close(f.evaluator.rotate_vector(&f.encrypt(&values, primes), step as i32, &keys).unwrap(), &expected);
    }
    let error = f.evaluator.rotate_vector(&f.encrypt(&values, 3), 1, &keys).unwrap_err();
    assert_eq!(error.code(), "missing-key");
    assert!(error.to_string().contains("3 primes"), "{error}");
    let squares: Vec<f64> = values.iter().map(|x| x * x).collect();
    let square = f.evaluator.square(&f.encrypt(&values, 2)).unwrap();
    close(f.evaluator.relinearize(&square, &keys).unwrap(), &squares);
}
