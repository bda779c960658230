// What every fuzz target and `tests/seal_mutations.rs` run: a reader of `seal::wire` on any bytes. It must
// return; what it accepts must be the same after writing and reading it again.

use std::sync::{Arc, LazyLock};

use pycrcnn::encryption::SeededKeySet;
use pycrcnn::protocol;
use pycrcnn::protocol::compute::ComputeRequest;
use pycrcnn::ring::primes;
use pycrcnn::scheme::{Context, Parameters};
use pycrcnn::seal::wire::{self, Compression, Limits};

/// Small parameters of both schemes, with a key-switching prime.
pub static CONTEXTS: LazyLock<[Arc<Context>; 2]> = LazyLock::new(|| {
    let moduli = primes::create(1024, &[30, 36, 30]).expect("primes of these sizes exist");
    let bfv = Parameters::bfv(1024, moduli.clone(), true, 12289).expect("usable parameters");
    let ckks = Parameters::ckks(1024, moduli, true).expect("usable parameters");
    [bfv, ckks].map(|parameters| Context::new(parameters).expect("usable parameters"))
});

/// The largest input and output: room for every object of these contexts but many Galois keys.
pub const LIMITS: Limits = Limits { max_bytes: 1 << 20 };

pub fn ciphertext(bytes: &[u8]) {
    for context in &*CONTEXTS {
        if let Ok(object) = wire::read_ciphertext(context, bytes, LIMITS) {
            let written = wire::write_ciphertext(&object, Compression::None);
            assert_eq!(wire::read_ciphertext(context, &written, LIMITS), Ok(object));
        }
    }
}

pub fn seeded_ciphertext(bytes: &[u8]) {
    for context in &*CONTEXTS {
        if let Ok(object) = wire::read_seeded_ciphertext(context, bytes, LIMITS) {
            let written = wire::write_seeded_ciphertext(context, &object, Compression::None).expect("it fits");
            let whole = object.expand(context);
            assert_eq!(wire::read_seeded_ciphertext(context, &written, LIMITS), Ok(object));
            assert_eq!(wire::read_ciphertext(context, &written, LIMITS), whole);
        }
    }
}

pub fn plaintext(bytes: &[u8]) {
    for context in &*CONTEXTS {
        if let Ok(object) = wire::read_plaintext(context, bytes, LIMITS) {
            let written = wire::write_plaintext(context, &object, Compression::None).expect("it fits");
            assert_eq!(wire::read_plaintext(context, &written, LIMITS), Ok(object));
        }
    }
}

pub fn secret_key(bytes: &[u8]) {
    for context in &*CONTEXTS {
        if let Ok(object) = wire::read_secret_key(context, bytes, LIMITS) {
            let written = wire::write_secret_key(&object, Compression::None);
            let again = wire::read_secret_key(context, &written, LIMITS).expect("it was read before");
            assert_eq!(again.data(), object.data());
        }
    }
}

pub fn public_key(bytes: &[u8]) {
    for context in &*CONTEXTS {
        if let Ok(object) = wire::read_public_key(context, bytes, LIMITS) {
            let written = wire::write_public_key(context, &object, Compression::None).expect("it fits");
            assert_eq!(wire::read_public_key(context, &written, LIMITS), Ok(object));
        }
    }
}

pub fn relinearization_key(bytes: &[u8]) {
    for context in &*CONTEXTS {
        if let Ok(object) = wire::read_relinearization_key(context, bytes, LIMITS) {
            let written = wire::write_relinearization_key(context, &object, Compression::None).expect("it fits");
            assert_eq!(wire::read_relinearization_key(context, &written, LIMITS), Ok(object));
        }
    }
}

pub fn galois_keys(bytes: &[u8]) {
    for context in &*CONTEXTS {
        if let Ok(object) = wire::read_galois_keys(context, bytes, LIMITS) {
            let written = wire::write_galois_keys(context, &object, Compression::None).expect("they fit");
            assert_eq!(wire::read_galois_keys(context, &written, Limits::CONTEXT), Ok(object));
        }
    }
}

pub fn parameters(bytes: &[u8]) {
    if let Ok(object) = wire::read_parameters(bytes, LIMITS) {
        let written = wire::write_parameters(&object, Compression::None);
        assert_eq!(wire::read_parameters(&written, LIMITS), Ok(object));
    }
}

pub fn key_set(bytes: &[u8]) {
    for context in &*CONTEXTS {
        if let Ok(object) = SeededKeySet::from_bytes(context, bytes, LIMITS.max_bytes) {
            assert_eq!(object.into_bytes(context).expect("it was read with this context"), bytes);
        }
    }
}

pub fn message(bytes: &[u8]) {
    for context in &*CONTEXTS {
        for count in [1, 2] {
            let program = bytes.first_chunk().copied().unwrap_or_default();
            if let Ok(ciphertexts) = protocol::unpack(&program, context, bytes, count) {
                assert_eq!(ciphertexts.len(), count);
            }
        }
    }
}

pub fn compute_request(bytes: &[u8]) {
    if let Ok(request) = ComputeRequest::read(bytes, 4) {
        for context in &*CONTEXTS {
            if let Ok(read) = request.ciphertexts(context, LIMITS.max_bytes) {
                let borrowed: Vec<_> = read.ciphertexts.iter().collect();
                let reply = protocol::compute::reply(&borrowed, &request.shape, read.header.as_ref()).expect("it fits");
                let again = ComputeRequest::read(&reply, 4).and_then(|request| request.ciphertexts(context, 1 << 20));
                assert_eq!(again.expect("it was written here").ciphertexts, read.ciphertexts);
            }
        }
    }
}
