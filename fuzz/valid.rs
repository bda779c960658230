// Valid inputs of every fuzz target: `tests/seal_mutations.rs` mutates them, `seeds` makes a corpus of them.

use std::collections::BTreeMap;

use pycrcnn::encryption::{KeyGenerator, keygen};
use pycrcnn::protocol::{self, compute};
use pycrcnn::ring::Residues;
use pycrcnn::runtime::Cancellation;
use pycrcnn::scheme::{Ciphertext, Form, Scheme};
use pycrcnn::seal::wire::{self, Compression};

use crate::readers;
use crate::seal_fixtures::{FIXTURES, Kind};

/// A target's name, what it runs, and bytes that it accepts.
pub type Valid = (&'static str, fn(&[u8]), Vec<u8>);

/// Objects of every target, in both schemes and under every compression where they have one.
pub fn objects() -> Vec<Valid> {
    [objects_of_seal(), messages()].concat()
}

fn objects_of_seal() -> Vec<Valid> {
    let mut objects: Vec<Valid> = Vec::new();
    for fixture in &*FIXTURES {
        for compression in Compression::ALL {
            for kind in Kind::ALL {
                let (name, reader): (_, fn(&[u8])) = match kind {
                    Kind::Ciphertext => ("ciphertext", readers::ciphertext),
                    Kind::Seeded => ("seeded_ciphertext", readers::seeded_ciphertext),
                    Kind::Plaintext => ("plaintext", readers::plaintext),
                    Kind::SecretKey => ("secret_key", readers::secret_key),
                    Kind::PublicKey | Kind::CompactPublicKey => ("public_key", readers::public_key),
                    Kind::Relinearization | Kind::CompactRelinearization => {
                        ("relinearization_key", readers::relinearization_key)
                    }
                    Kind::Galois | Kind::CompactGalois => ("galois_keys", readers::galois_keys),
                };
                objects.push((name, reader, fixture.saved(kind, compression)));
            }
            let parameters = wire::write_parameters(fixture.context.parameters(), compression);
            objects.push(("parameters", readers::parameters, parameters));
        }
    }
    objects
}

fn messages() -> Vec<Valid> {
    let mut messages: Vec<Valid> = Vec::new();
    for context in &*readers::CONTEXTS {
        let form = if context.parameters().scheme() == Scheme::Bfv { Form::Coefficient } else { Form::Ntt };
        let data = Residues::zeros(2 * context.data_primes() * context.degree());
        let ciphertext = Ciphertext::from_data(context, 2, context.data_primes(), form, 1.0, data).unwrap();
        let message = protocol::pack(&[7; 32], context, std::slice::from_ref(&ciphertext)).unwrap();
        messages.push(("message", readers::message, message));
        let reply = compute::reply(&[&ciphertext; 2], &[1, 2], None).unwrap();
        messages.push(("compute_request", readers::compute_request, reply));
        let secret = keygen::secret_key(context).unwrap();
        let generator = KeyGenerator::new(context.clone(), &secret).unwrap();
        let keys = generator.key_set(Some(1), &BTreeMap::from([(1, 1)]), &Cancellation::new()).unwrap();
        messages.push(("key_set", readers::key_set, keys.into_bytes(context).unwrap()));
    }
    messages
}
