use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::encryption::{Decryptor, SymmetricEncryptor};
use crate::ring::primes;
use crate::scheme::{EvaluationKeys, KeySwitchKey, Parameters, SecretKey};
use crate::seal::SealSession;

const DEGREE: usize = 2048;
const ROW: usize = DEGREE / 2;

/// Rotations that there are keys for.
const STEPS: [usize; 8] = [1, 2, 3, 5, 64, 500, 1000, ROW - 1];

struct Fixture {
    context: Arc<Context>,
    encoder: BatchEncoder,
    evaluator: Evaluator,
    encryptor: SymmetricEncryptor,
    decryptor: Decryptor,
    keys: PackedKeys,
    session: SealSession,
    secret: SecretKey,
    galois: BTreeMap<u32, KeySwitchKey>,
    relinearization: KeySwitchKey,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| Fixture::new(16));

impl Fixture {
    fn new(plain_bits: u32) -> Self {
        let moduli = primes::create(DEGREE, &[40, 40, 40, 49]).unwrap();
        let t = primes::largest(2 * DEGREE as u64, plain_bits, 1).unwrap()[0];
        let context = Context::new(Parameters::bfv(DEGREE, moduli, true, t).unwrap()).unwrap();
        let session = SealSession::new(&context).unwrap();
        let (secret, _) = session.generate_keys().unwrap();
        let galois = session.rotation_keys(&secret, &STEPS.map(|step| step as i32)).unwrap();
        let relinearization = session.relinearization_key(&secret).unwrap();
        let keys = EvaluationKeys {
            parms_id: context.key_parms_id(),
            relinearization: Some(relinearization.clone()),
            galois: galois.clone(),
        };
        Self {
            encoder: BatchEncoder::new(&context).unwrap(),
            evaluator: Evaluator::new(context.clone()),
            encryptor: SymmetricEncryptor::new(context.clone(), &secret).unwrap(),
            decryptor: Decryptor::new(context.clone(), &secret).unwrap(),
            keys: PackedKeys::new(&context, keys).unwrap(),
            session,
            secret,
            galois,
            relinearization,
            context,
        }
    }

    fn t(&self) -> u64 {
        self.encoder.plain_modulus()
    }

    fn values(&self, seed: u64) -> Vec<u64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 20) % self.t()
        };
        (0..DEGREE).map(|_| next()).collect()
    }

    /// In coefficient form, as SEAL's.
    fn encrypt(&self, values: &[u64], primes: usize) -> Ciphertext {
        let plaintext = self.encoder.encode_unsigned(values).unwrap();
        self.encryptor.encrypt(&plaintext, Some(primes)).unwrap()
    }

    fn ntt(&self, x: &Ciphertext) -> Ciphertext {
        self.evaluator.to_ntt(x).unwrap()
    }

    fn decrypt(&self, x: &Ciphertext) -> Vec<u64> {
        self.encoder.decode_unsigned(&self.decryptor.decrypt(x).unwrap()).unwrap()
    }

    /// What decrypts to the same as SEAL's result, as the slots expected, with no less noise budget, up to the last bit.
    fn agrees(&self, ours: &Ciphertext, seals: &Ciphertext, expected: &[u64]) {
        assert_eq!(self.decrypt(ours), expected);
        assert_eq!(
            self.session.decrypt(&self.secret, seals).unwrap(),
            self.decryptor.decrypt(&self.evaluator.to_coefficients(ours).unwrap()).unwrap()
        );
        let [own, seals] = [ours, seals].map(|x| self.decryptor.noise_budget(x).unwrap());
        assert!(own + 1 >= seals && own > 0, "{own} bits left where SEAL leaves {seals}");
    }
}

fn rotated(values: &[u64], step: usize) -> Vec<u64> {
    values.chunks_exact(ROW).flat_map(|row| (0..ROW).map(move |i| row[(i + step) % ROW])).collect()
}

fn combined(f: &Fixture, a: &[u64], b: &[u64], operation: impl Fn(u128, u128) -> u128) -> Vec<u64> {
    a.iter().zip(b).map(|(&a, &b)| (operation(a.into(), b.into()) % u128::from(f.t())) as u64).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn matrices_multiply_both_rows(
        giants in prop::sample::subsequence([&[0][..], &STEPS[..]].concat(), 1..4),
        babies in prop::sample::subsequence([&[0][..], &STEPS[..]].concat(), 1..4),
        level in 2usize..4,
        drops: bool,
        with_bias: bool,
        seed: u64,
    ) {
        let f = &*FIXTURE;
        let diagonal = |giant: usize, baby: usize| f.values(seed ^ (giant * 31 + baby * 7) as u64);
        let group = |&giant: &usize| Group {
            giant,
            diagonals: babies.iter().map(|&baby| (baby, diagonal(giant, baby))).collect(),
        };
        let groups: Vec<Group<u64>> = giants.iter().map(group).collect();
        let bias = with_bias.then(|| f.values(!seed));
        let descent = if drops { Descent::Drop } else { Descent::Stay };
        let transform =
            ExactTransform::new(&f.context, &f.encoder, level, descent, &groups, bias.as_deref()).unwrap();
        let x = f.values(seed);
        let image = f.encrypt(&x, level);
        let ours = f.evaluator.exact_transform(&f.ntt(&image), &transform, &f.keys, &Cancellation::new()).unwrap();
        prop_assert_eq!((ours.primes(), ours.size()), (descent.left(level), 2));

        let mut expected = bias.clone().unwrap_or(vec![0; DEGREE]);
        let mut seals: Option<Ciphertext> = None;
        for group in &groups {
            let (mut clear, mut encrypted): (Vec<u64>, Option<Ciphertext>) = (vec![0; DEGREE], None);
            for (baby, diagonal) in &group.diagonals {
                clear = combined(f, &clear, &combined(f, diagonal, &rotated(&x, *baby), |a, b| a * b), |a, b| a + b);
                let plaintext = f.encoder.encode_unsigned(diagonal).unwrap();
                let turned = match baby {
                    0 => image.clone(),
                    _ => f.session.rotate(&image, *baby as i32, &f.galois).unwrap(),
                };
                let product = f.session.multiply_plain(&turned, &plaintext).unwrap();
                encrypted = Some(encrypted.map_or(product.clone(), |sum| f.session.add(&sum, &product).unwrap()));
            }
            expected = combined(f, &expected, &rotated(&clear, group.giant), |a, b| a + b);
            let encrypted = encrypted.unwrap();
            let turned = match group.giant {
                0 => encrypted,
                giant => f.session.rotate(&encrypted, giant as i32, &f.galois).unwrap(),
            };
            seals = Some(seals.map_or(turned.clone(), |sum| f.session.add(&sum, &turned).unwrap()));
        }
        let mut seals = seals.unwrap();
        if let Some(bias) = &bias {
            seals = f.session.add_plain(&seals, &f.encoder.encode_unsigned(bias).unwrap()).unwrap();
        }
        if drops {
            seals = f.session.mod_switch_to_next(&seals).unwrap();
        }
        f.agrees(&ours, &seals, &expected);
    }

    #[test]
    fn rotations_add_up(steps in prop::sample::subsequence([&[0][..], &STEPS[..]].concat(), 1..5), level in 1usize..4, seed: u64) {
        let f = &*FIXTURE;
        let x = f.values(seed);
        let image = f.encrypt(&x, level);
        let sum = f.evaluator.sum_rotations(&f.ntt(&image), &steps, &f.keys, &Cancellation::new()).unwrap();
        let turned = |&step: &usize| match step {
            0 => image.clone(),
            _ => f.session.rotate(&image, step as i32, &f.galois).unwrap(),
        };
        let seals = steps.iter().map(turned).reduce(|a, b| f.session.add(&a, &b).unwrap()).unwrap();
        let zero = vec![0; DEGREE];
        let expected = steps.iter().fold(zero, |sum, &step| combined(f, &sum, &rotated(&x, step), |a, b| a + b));
        f.agrees(&sum, &seals, &expected);
    }

    #[test]
    fn squares_are_exact(level in 2usize..4, drops: bool, seed: u64) {
        let f = &*FIXTURE;
        let x = f.values(seed);
        let image = f.encrypt(&x, level);
        let descent = if drops { Descent::Drop } else { Descent::Stay };
        let ours = f.evaluator.exact_square(&f.ntt(&image), descent, &f.keys, &Cancellation::new()).unwrap();
        prop_assert_eq!((ours.primes(), ours.size()), (descent.left(level), 2));
        let mut seals = f.session.relinearize(&f.session.square(&image).unwrap(), &f.relinearization).unwrap();
        if drops {
            seals = f.session.mod_switch_to_next(&seals).unwrap();
        }
        f.agrees(&ours, &seals, &combined(f, &x, &x, |a, b| a * b));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let f = &*FIXTURE;
    let other = Fixture::new(18);
    let groups = [Group { giant: 0, diagonals: vec![(0, f.values(1))] }];
    let transform =
        |f: &Fixture, primes, descent| ExactTransform::new(&f.context, &f.encoder, primes, descent, &groups, None);
    let matrix = transform(f, 2, Descent::Drop).unwrap();
    let run = |x: &Ciphertext| {
        f.evaluator.exact_transform(x, &matrix, &f.keys, &Cancellation::new()).map_err(|error| error.to_string())
    };
    let image = f.encrypt(&f.values(2), 2);
    assert!(run(&f.ntt(&image)).is_ok());
    assert!(run(&image).unwrap_err().contains("representations"));
    assert!(run(&f.ntt(&f.encrypt(&f.values(2), 3))).unwrap_err().contains("levels"));
    let foreign = transform(&other, 2, Descent::Drop).unwrap();
    let error = f.evaluator.exact_transform(&f.ntt(&image), &foreign, &f.keys, &Cancellation::new()).unwrap_err();
    assert_eq!(error.code(), "parameters-mismatch");
    assert_eq!(transform(f, 1, Descent::Drop).unwrap_err().code(), "level-exhausted");
    assert!(ExactTransform::new(&f.context, &other.encoder, 2, Descent::Drop, &groups, None).is_err());
    let unknown = [Group { giant: 0, diagonals: vec![(7, f.values(1))] }];
    let unknown = ExactTransform::new(&f.context, &f.encoder, 2, Descent::Stay, &unknown, None).unwrap();
    let error = f.evaluator.exact_transform(&f.ntt(&image), &unknown, &f.keys, &Cancellation::new()).unwrap_err();
    assert!(error.code() == "missing-key" && error.to_string().contains("by 7 slots"), "{error}");
    let beyond = [Group { giant: ROW, diagonals: vec![(0, f.values(1))] }];
    let error = ExactTransform::new(&f.context, &f.encoder, 2, Descent::Stay, &beyond, None).unwrap_err();
    assert_eq!(error.code(), "invalid-argument");
}
