//! `seal::wire` against SEAL's own loader and saver, both ways.

#[allow(dead_code)]
mod seal_fixtures;

use proptest::prelude::*;
use pycrcnn::error::Error;
use pycrcnn::ring::Residues;
use pycrcnn::scheme::{Form, Plaintext, Scheme};
use pycrcnn::seal::Object;
use pycrcnn::seal::wire::{self, Compression, Limits, Seed, SeededCiphertext};
use seal_fixtures::{DEGREE, FIXTURES, Kind, ckks_plaintext};

/// What SEAL saved is read under every compression and written again byte for byte; what is given by seeds
/// expands as SEAL expands it.
#[test]
fn seal_to_ours_and_back() {
    for fixture in &*FIXTURES {
        for kind in Kind::ALL {
            let plain = fixture.saved(kind, Compression::None);
            let expected = match kind {
                Kind::Seeded => plain.clone(),
                _ => fixture.session.resave(kind.object(), &plain, Compression::None).unwrap(),
            };
            let rewritten = fixture.rewrite(kind, &plain, Limits::CONTEXT).unwrap();
            assert!(rewritten == expected, "{kind:?} {:?}", fixture.scheme());
            if kind == Kind::Seeded {
                let whole = fixture.session.resave(Object::Ciphertext, &plain, Compression::None).unwrap();
                assert!(fixture.rewrite(Kind::Ciphertext, &plain, Limits::CONTEXT).unwrap() == whole);
            }
            for compression in [Compression::Zlib, Compression::Zstd] {
                let whole = fixture.session.resave(kind.object(), &plain, Compression::None).unwrap();
                let compressed = fixture.session.resave(kind.object(), &plain, compression).unwrap();
                let kind = if kind == Kind::Seeded { Kind::Ciphertext } else { kind };
                let rewritten = fixture.rewrite(kind, &compressed, Limits::CONTEXT).unwrap();
                assert!(rewritten == whole, "{kind:?} {compression:?}");
            }
        }
    }
}

/// Seeded objects stay half as large, and SEAL's compressed seeded objects are read.
#[test]
fn compressed_seeded_objects() {
    for fixture in &*FIXTURES {
        for (compact, whole) in [
            (Kind::Seeded, Kind::Ciphertext),
            (Kind::CompactPublicKey, Kind::PublicKey),
            (Kind::CompactRelinearization, Kind::Relinearization),
        ] {
            let (small, large) = (fixture.saved(compact, Compression::None), fixture.saved(whole, Compression::None));
            assert!(100 * small.len() < 51 * large.len(), "{compact:?}: {} of {}", small.len(), large.len());
            for compression in Compression::ALL {
                fixture.rewrite(compact, &fixture.saved(compact, compression), Limits::CONTEXT).unwrap();
            }
        }
    }
}

#[test]
fn galois_keys_are_sparse() {
    for fixture in &*FIXTURES {
        let bytes = fixture.saved(Kind::Galois, Compression::None);
        let keys = wire::read_galois_keys(&fixture.context, &bytes, Limits::CONTEXT).unwrap();
        assert_eq!(keys.keys().copied().collect::<Vec<_>>(), [3, 2 * DEGREE as u32 - 1]);
    }
}

#[test]
fn writers_refuse_objects_of_other_parameters() {
    let [bfv, ckks] = &*FIXTURES;
    let plaintext = bfv.plaintext();
    let public = bfv.session.public_key(&bfv.secret).unwrap();
    let seeded = bfv.session.encrypt_seeded(&bfv.secret, &plaintext).unwrap();
    let none = Compression::None;
    for error in [
        wire::write_plaintext(&ckks.context, &plaintext, none).unwrap_err(),
        wire::write_public_key(&ckks.context, &public, none).unwrap_err(),
        wire::write_seeded_ciphertext(&ckks.context, &seeded, none).unwrap_err(),
        seeded.expand(&ckks.context).unwrap_err(),
    ] {
        assert!(matches!(error, Error::ParametersMismatch { .. }), "{error}");
    }
}

fn compressions() -> impl Strategy<Value = Compression> {
    prop::sample::select(Compression::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any ciphertext of ours loads in SEAL, which saves the same bytes; we read it back.
    #[test]
    fn ciphertexts_ours_to_seal(
        scheme in 0..2usize, size in 2..=16usize, primes in 1..=2usize, ntt in any::<bool>(), seed in any::<u32>(),
        compression in compressions(),
    ) {
        let fixture = &FIXTURES[scheme];
        let form = if ntt { Form::Ntt } else { Form::Coefficient };
        let ciphertext = fixture.ciphertext(size, primes, form, seed.into());
        let plain = wire::write_ciphertext(&ciphertext, Compression::None);
        let written = wire::write_ciphertext(&ciphertext, compression);
        let resaved = fixture.session.resave(Object::Ciphertext, &written, Compression::None).unwrap();
        prop_assert!(resaved == plain);
        let resaved = fixture.session.resave(Object::Ciphertext, &plain, compression).unwrap();
        for bytes in [written, resaved] {
            prop_assert_eq!(&wire::read_ciphertext(&fixture.context, &bytes, Limits::CONTEXT).unwrap(), &ciphertext);
        }
    }

    /// Any seeded ciphertext of ours expands in SEAL as here.
    #[test]
    fn seeded_ciphertexts_ours_to_seal(
        scheme in 0..2usize, primes in 1..=2usize, seed in any::<[u64; 8]>(), compression in compressions(),
    ) {
        let fixture = &FIXTURES[scheme];
        let form = if fixture.scheme() == Scheme::Bfv { Form::Coefficient } else { Form::Ntt };
        let whole = fixture.ciphertext(2, primes, form, seed[0] >> 40);
        let seeded = SeededCiphertext {
            parms_id: whole.parms_id(),
            form,
            scale: whole.scale(),
            c0: Residues::from_slice(whole.poly(0)),
            seed: Seed(seed),
        };
        let written = wire::write_seeded_ciphertext(&fixture.context, &seeded, compression).unwrap();
        let expanded = wire::write_ciphertext(&seeded.expand(&fixture.context).unwrap(), Compression::None);
        let resaved = fixture.session.resave(Object::Ciphertext, &written, Compression::None).unwrap();
        prop_assert!(resaved == expanded);
        prop_assert_eq!(wire::read_seeded_ciphertext(&fixture.context, &written, Limits::CONTEXT).unwrap(), seeded);
    }

    /// Any plaintext of ours loads in SEAL, which saves the same bytes.
    #[test]
    fn plaintexts_ours_to_seal(
        coefficients in prop::collection::vec(0..12289u64, 0..=DEGREE), primes in 1..=2usize, scale in 1e-3..1e30f64,
        seed in any::<u64>(), compression in compressions(),
    ) {
        let [bfv, ckks] = &*FIXTURES;
        for (fixture, plaintext) in [
            (bfv, Plaintext::Bfv(coefficients)),
            (ckks, ckks_plaintext(&ckks.context, primes, scale, seed)),
        ] {
            let plain = wire::write_plaintext(&fixture.context, &plaintext, Compression::None).unwrap();
            let written = wire::write_plaintext(&fixture.context, &plaintext, compression).unwrap();
            prop_assert!(fixture.session.resave(Object::Plaintext, &written, Compression::None).unwrap() == plain);
            let read = wire::read_plaintext(&fixture.context, &written, Limits::CONTEXT).unwrap();
            prop_assert_eq!(read, plaintext);
        }
    }
}
