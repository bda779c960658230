use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::ring::primes;
use crate::scheme::{Form, Parameters};

fn context() -> Arc<Context> {
    Context::new(Parameters::bfv(1024, primes::create(1024, &[27]).unwrap(), false, 65537).unwrap()).unwrap()
}

fn ciphertext(context: &Context, value: u64) -> Ciphertext {
    let mut data = crate::ring::Residues::zeros(2 * 1024);
    data.fill(value);
    Ciphertext::from_data(context, 2, 1, Form::Coefficient, 1.0, data).unwrap()
}

fn header() -> LeafHeader {
    let key = Some("0123".into());
    LeafHeader { kind: "ciphertext".into(), encoding: "fractional".into(), divisor: 1, key }
}

fn request(extra: &str, header: Option<&LeafHeader>) -> (Arc<Context>, Vec<Ciphertext>, String) {
    let context = context();
    let ciphertexts: Vec<_> = (1..7).map(|value| ciphertext(&context, value)).collect();
    let data = reply(&ciphertexts.iter().collect::<Vec<_>>(), &[1, 2, 3], header).unwrap();
    let data = String::from_utf8(data).unwrap();
    let body = format!("{{\"net\": \"lenet\", {extra} {}", &data[1..]);
    (context, ciphertexts, body)
}

const LIMIT: u64 = 1 << 24;

#[test]
fn plain_and_doubled_json_are_read_alike() {
    for header in [None, Some(header())] {
        let extra = "\"address\": {\"ignored\": [1]}, \"encryption_parameters\": [{\"m\": 1024}], \
            \"evaluation_keys\": \"AAEC\", \"public_key\": \"Aw==\",";
        let (context, ciphertexts, body) = request(extra, header.as_ref());
        let doubled = serde_json::to_string(&body).unwrap();
        for text in [body.clone(), format!(" \n{body}"), doubled] {
            let request = ComputeRequest::read(text.as_bytes(), 6).unwrap();
            assert_eq!(request.fields, "{\"encryption_parameters\":[{\"m\": 1024}],\"net\":\"lenet\"}");
            assert_eq!(request.shape, [1, 2, 3]);
            assert_eq!(request.evaluation_keys.as_deref(), Some(&[0u8, 1, 2][..]));
            assert_eq!(request.public_key.as_deref(), Some(&[3u8][..]));
            let read = request.ciphertexts(&context, LIMIT).unwrap();
            assert_eq!((read.ciphertexts, read.header), (ciphertexts.clone(), header.clone()));
        }
        let error = ComputeRequest::read(body.as_bytes(), 5).unwrap_err();
        assert_eq!(error.code(), "too-large");
        let request = ComputeRequest::read(body.as_bytes(), 6).unwrap();
        assert_eq!(request.ciphertexts(&context, 1000).unwrap_err().code(), "too-large");
    }
}

#[test]
fn leaves_of_different_keys_do_not_mix() {
    let (context, _, first) = request("", Some(&header()));
    let (_, _, second) = request("", None);
    let row = |body: &str| body[body.find("[[[").unwrap() + 1..].trim_end_matches("]}").to_owned();
    let mixed = format!("{{\"data\": [{}, {}]}}", row(&first), row(&second));
    let error = ComputeRequest::read(mixed.as_bytes(), 99).unwrap().ciphertexts(&context, LIMIT).unwrap_err();
    assert_eq!(error.code(), "operand-mismatch");
}

#[test]
fn what_is_no_request_is_malformed() {
    let deep = format!("{{\"data\": {}\"\"{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for body in [
        "",
        " ",
        "{}",
        "[]",
        "7",
        "\"",
        "\"7\"",
        "null",
        "{\"data\": []}",
        "{\"data\": \"AA\"}",
        "{\"data\": [[\"AA\"], []]}",
        "{\"data\": [[\"AA\"], \"AA\"]}",
        "{\"data\": [[\"AA\"], [\"AA\", \"AA\"]]}",
        "{\"data\": [[[[[\"AA\"]]]]]}",
        "{\"data\": [1]}",
        "{\"data\": [\"?\"]}",
        "{\"data\": [\"AA==\"]} trailing",
        "{\"data\": [\"AA==\"], \"data\": [\"AA==\"]}",
        "{\"data\": [\"AA==\"], \"evaluation_keys\": \"?\"}",
        &deep,
    ] {
        assert_eq!(ComputeRequest::read(body.as_bytes(), 9).map(|_| ()).unwrap_err().code(), "malformed", "{body:.60}");
    }
    // What is passed over costs no stack, however deep it is.
    let elsewhere = format!("{{\"data\": [\"\"], \"address\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(ComputeRequest::read(elsewhere.as_bytes(), 9).is_ok());
    let long = format!("{{\"data\": [\"AA==\"], \"net\": \"{}\"}}", "x".repeat(MAX_FIELDS));
    assert_eq!(ComputeRequest::read(long.as_bytes(), 9).unwrap_err().code(), "too-large");
    for leaf in [&b"PYCRCNN\x01"[..], b"PYCRCNN\x01\xff\xff\xff\xff", b"PYCRCNN\x01\x02\0\0\0{}", b"nothing"] {
        let body = format!("{{\"data\": [\"{}\"]}}", STANDARD.encode(leaf));
        let request = ComputeRequest::read(body.as_bytes(), 9).unwrap();
        assert_eq!(request.ciphertexts(&context(), LIMIT).unwrap_err().code(), "malformed");
    }
}

#[test]
fn a_small_leaf_does_not_become_a_large_one() {
    let context = context();
    let mut data = crate::ring::Residues::zeros(16 * 1024);
    data.fill(1);
    let many = Ciphertext::from_data(&context, 16, 1, Form::Coefficient, 1.0, data).unwrap();
    let body = reply(&[&many], &[1], None).unwrap();
    assert!(body.len() < 2000, "it compresses well");
    let error = ComputeRequest::read(&body, 9).unwrap().ciphertexts(&context, LIMIT).unwrap_err();
    assert_eq!(error.code(), "too-large");
}

#[test]
fn a_reply_needs_a_shape_that_fits() {
    let ciphertext = ciphertext(&context(), 1);
    for shape in [&[2][..], &[0], &[1, 2]] {
        assert_eq!(reply(&[&ciphertext], shape, None).unwrap_err().code(), "shape-mismatch");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(at: prop::sample::Index, byte: u8, cut: prop::sample::Index, doubled: bool) {
        let (context, _, mut body) = request("\"layers\": [0, 1],", Some(&header()));
        if doubled {
            body = serde_json::to_string(&body).unwrap();
        }
        let mut bytes = body.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = ComputeRequest::read(&bytes, 9).and_then(|request| request.ciphertexts(&context, LIMIT));
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(ComputeRequest::read(&bytes, 9).is_err());
    }
}
