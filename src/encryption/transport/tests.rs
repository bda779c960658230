use proptest::prelude::*;

use super::*;
use crate::encryption::sampling::Sampler;
use crate::ring::primes;
use crate::scheme::Parameters;

const LIMIT: u64 = 1 << 30;

fn context(scheme: Scheme) -> std::sync::Arc<Context> {
    let moduli = primes::create(1024, &[36, 37, 60]).unwrap();
    Context::new(match scheme {
        Scheme::Bfv => Parameters::bfv(1024, moduli, false, 65537).unwrap(),
        Scheme::Ckks => Parameters::ckks(1024, moduli, false).unwrap(),
    })
    .unwrap()
}

fn random(context: &Context, primes: usize, polynomials: usize, stream: u64) -> Residues {
    let mut data = Residues::zeros(polynomials * primes * 1024);
    let mut sampler = Sampler::from_seed(&[9; 32], stream);
    for (k, row) in data.chunks_exact_mut(1024).enumerate() {
        sampler.uniform(context.modulus(k % primes), row);
    }
    data
}

fn ciphertexts(context: &Context, primes: usize, size: usize, count: u64) -> Vec<Ciphertext> {
    let (form, scale) =
        if context.parameters().scheme() == Scheme::Bfv { (Form::Coefficient, 1.0) } else { (Form::Ntt, 1e9) };
    (0..count)
        .map(|i| Ciphertext::from_data(context, size, primes, form, scale, random(context, primes, size, i)).unwrap())
        .collect()
}

fn seeded(context: &Context, count: u64) -> SeededCiphertexts {
    let first = (0..count).map(|i| random(context, 3, 1, i)).collect();
    SeededCiphertexts::new(context, 3, Form::Coefficient, 1.0, [5; 32], first)
}

#[test]
fn tensors_round_trip() {
    for scheme in [Scheme::Bfv, Scheme::Ckks] {
        let context = context(scheme);
        for (primes, size) in [(1, 2), (3, 2), (2, 3), (1, 16)] {
            let tensor = ciphertexts(&context, primes, size, 6);
            let bytes = pack(&context, &tensor, &[2, 3]).unwrap();
            let bits: usize = [36, 37, 60][..primes].iter().sum();
            assert_eq!(bytes.len(), FIXED + 16 + 6 * size * 1024 * bits / 8);
            let read = unpack(&context, &bytes, None, LIMIT).unwrap();
            assert_eq!(read, CiphertextTensor { shape: vec![2, 3], ciphertexts: tensor });
        }
    }
    let context = context(Scheme::Bfv);
    for shape in [&[0][..], &[3, 0, 2]] {
        let read = unpack(&context, &pack(&context, &[], shape).unwrap(), None, LIMIT).unwrap();
        assert_eq!((read.shape.as_slice(), read.ciphertexts.len()), (shape, 0));
    }
    let scalar = unpack(&context, &pack(&context, &ciphertexts(&context, 1, 2, 1), &[]).unwrap(), None, LIMIT).unwrap();
    assert_eq!((scalar.shape.len(), scalar.ciphertexts.len()), (0, 1));
}

#[test]
fn seeded_tensors_are_expanded_in_the_form_asked_for() {
    let context = context(Scheme::Bfv);
    let seeded = seeded(&context, 3);
    let bytes = pack_seeded(&context, &seeded, &[3]).unwrap();
    assert_eq!(bytes.len(), FIXED + 8 + 32 + 3 * 1024 * (36 + 37 + 60) / 8);
    let read = unpack(&context, &bytes, None, LIMIT).unwrap();
    let mut transformed = unpack(&context, &bytes, Some(Form::Ntt), LIMIT).unwrap();
    for (i, ciphertext) in transformed.ciphertexts.iter_mut().enumerate() {
        assert_eq!(ciphertext.form(), Form::Ntt);
        assert_eq!(read.ciphertexts[i], seeded.expand(&context, i, Form::Coefficient).unwrap());
        change_form(&context, Form::Ntt, Form::Coefficient, ciphertext.poly_mut(0));
        change_form(&context, Form::Ntt, Form::Coefficient, ciphertext.poly_mut(1));
        assert_eq!(ciphertext.data(), read.ciphertexts[i].data());
    }
}

#[test]
fn what_cannot_be_packed_is_named() {
    let (bfv, ckks) = (context(Scheme::Bfv), context(Scheme::Ckks));
    let tensor = ciphertexts(&bfv, 3, 2, 2);
    for shape in [&[3][..], &[2, 2], &[usize::MAX, 2], &[1; 33]] {
        assert!(matches!(pack(&bfv, &tensor, shape), Err(Error::ShapeMismatch { .. })));
    }
    assert!(matches!(pack(&ckks, &tensor, &[2]), Err(Error::ParametersMismatch { .. })));
    assert!(matches!(pack_seeded(&ckks, &seeded(&bfv, 1), &[1]), Err(Error::ParametersMismatch { .. })));
    let mixed = [ciphertexts(&bfv, 3, 2, 1), ciphertexts(&bfv, 3, 3, 1)].concat();
    assert!(matches!(pack(&bfv, &mixed, &[2]), Err(Error::OperandMismatch { .. })));
}

#[test]
fn every_truncation_and_every_wrong_field_is_refused() {
    let context = context(Scheme::Bfv);
    for bytes in [
        pack(&context, &ciphertexts(&context, 1, 2, 1), &[1]).unwrap(),
        pack_seeded(&context, &seeded(&context, 1), &[1]).unwrap(),
    ] {
        let refused = |bytes: &[u8]| unpack(&context, bytes, None, LIMIT).unwrap_err();
        for len in (0..200).chain([bytes.len() - 1]) {
            assert!(matches!(refused(&bytes[..len]), Error::Malformed { .. }), "{len}");
        }
        assert!(matches!(refused(&[&bytes[..], &[0]].concat()), Error::Malformed { .. }));
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            refused(&bytes)
        };
        for (at, value) in [(0, 0), (7, 2), (8, 2), (9, 2), (10, 1), (10, 17), (11, 33), (16, 1), (56, 2), (63, 255)] {
            assert!(matches!(changed(at, value), Error::Malformed { .. }), "byte {at}");
        }
        for at in [12, 24, 55] {
            assert!(matches!(changed(at, 1), Error::ParametersMismatch { .. }), "byte {at}");
        }
        let mut large = bytes.clone();
        let end = large.len();
        large[end - 8..].fill(255);
        assert!(matches!(refused(&large), Error::Malformed { .. }));
        assert_eq!(
            unpack(&context, &bytes, None, 10),
            Err(Error::TooLarge { object: OBJECT, size: bytes.len() as u64, limit: 10 })
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(at in 0usize..120, change: u8, len in 0usize..300, seed in any::<bool>()) {
        let context = context(Scheme::Bfv);
        let mut bytes = if seed {
            pack_seeded(&context, &seeded(&context, 1), &[1]).unwrap()
        } else {
            pack(&context, &ciphertexts(&context, 1, 2, 1), &[1, 1]).unwrap()
        };
        bytes[at] ^= change;
        if let Ok(tensor) = unpack(&context, &bytes, None, LIMIT) {
            prop_assert!(tensor.ciphertexts.len() <= 1);
        }
        bytes.truncate(len);
        prop_assert!(unpack(&context, &bytes, None, LIMIT).is_err());
    }
}
