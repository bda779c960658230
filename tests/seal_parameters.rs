//! Parameters against SEAL's: parms_ids, default and created primes, the bytes of parameters.

use pycrcnn::error::Error;
use pycrcnn::ring::primes;
use pycrcnn::scheme::{Context, Parameters};
use pycrcnn::seal::wire::{self, Compression, Limits};
use sealy::{
    BFVEncryptionParametersBuilder, CKKSEncryptionParametersBuilder, CoefficientModulusFactory, DegreeType,
    EncryptionParameters, FromBytes, Modulus, SchemeType, SecurityLevel, ToBytes,
};

const DEGREES: [(DegreeType, usize); 6] = [
    (DegreeType::D1024, 1024),
    (DegreeType::D2048, 2048),
    (DegreeType::D4096, 4096),
    (DegreeType::D8192, 8192),
    (DegreeType::D16384, 16384),
    (DegreeType::D32768, 32768),
];

fn values(moduli: &[Modulus]) -> Vec<u64> {
    moduli.iter().map(Modulus::value).collect()
}

fn bfv(degree: DegreeType, moduli: &[u64], plain_modulus: u64) -> EncryptionParameters {
    BFVEncryptionParametersBuilder::new()
        .set_poly_modulus_degree(degree)
        .set_coefficient_modulus(moduli.iter().map(|&q| Modulus::new(q).unwrap()).collect::<Vec<_>>())
        .set_plain_modulus(Modulus::new(plain_modulus).unwrap())
        .build()
        .unwrap()
}

fn ckks(degree: DegreeType, moduli: &[u64]) -> EncryptionParameters {
    CKKSEncryptionParametersBuilder::new()
        .set_poly_modulus_degree(degree)
        .set_coefficient_modulus(moduli.iter().map(|&q| Modulus::new(q).unwrap()).collect::<Vec<_>>())
        .build()
        .unwrap()
}

#[test]
fn default_primes_are_seals() {
    let levels = [(SecurityLevel::TC128, 128), (SecurityLevel::TC192, 192), (SecurityLevel::TC256, 256)];
    for (level, security) in levels {
        for (seal_degree, degree) in DEGREES {
            let seals = CoefficientModulusFactory::bfv(seal_degree, level).unwrap();
            assert_eq!(values(&seals), primes::bfv_default(degree, security).unwrap(), "N = {degree}, {security} bits");
        }
    }
}

#[test]
fn created_primes_are_seals() {
    let sizes: [&[u32]; 5] =
        [&[50, 40, 40, 50], &[60, 50, 60, 50, 60], &[30], &[40, 26, 26, 26, 26, 26, 44], &[20, 21, 22]];
    for (seal_degree, degree) in DEGREES {
        for sizes in sizes {
            let bits: Vec<i32> = sizes.iter().map(|&bits| bits as i32).collect();
            match (CoefficientModulusFactory::build(seal_degree, &bits), primes::create(degree, sizes)) {
                (Ok(seals), Ok(ours)) => assert_eq!(values(&seals), ours, "N = {degree}, {sizes:?}"),
                (Err(_), Err(Error::PrimesExhausted { .. })) => {}
                (seals, ours) => panic!("N = {degree}, {sizes:?}: SEAL {seals:?}, ours {ours:?}"),
            }
        }
    }
}

#[test]
fn parms_ids_are_seals() {
    for (seal_degree, degree) in &DEGREES[2..5] {
        let (seal_degree, degree) = (*seal_degree, *degree);
        let moduli = primes::bfv_default(degree, 128).unwrap().to_vec();
        for (seals, ours) in [
            (bfv(seal_degree, &moduli, 12289), Parameters::bfv(degree, moduli.clone(), true, 12289).unwrap()),
            (ckks(seal_degree, &moduli), Parameters::ckks(degree, moduli.clone(), true).unwrap()),
        ] {
            let seals = sealy::Context::new(&seals, true, SecurityLevel::TC128).unwrap();
            let ours = Context::new(ours).unwrap();
            assert_eq!(seals.get_key_parms_id().unwrap(), ours.key_parms_id());
            assert_eq!(seals.get_first_parms_id().unwrap(), ours.parms_id(moduli.len() - 1));
            assert_eq!(seals.get_last_parms_id().unwrap(), ours.parms_id(1));
        }
    }
}

#[test]
fn bytes_are_seals() {
    let moduli = primes::bfv_default(4096, 128).unwrap();
    for (scheme, seals, ours) in [
        (
            SchemeType::Bfv,
            bfv(DegreeType::D4096, moduli, 1032193),
            Parameters::bfv(4096, moduli.to_vec(), true, 1032193).unwrap(),
        ),
        (SchemeType::Ckks, ckks(DegreeType::D4096, moduli), Parameters::ckks(4096, moduli.to_vec(), true).unwrap()),
    ] {
        // sealy saves with zstd.
        let saved = seals.as_bytes().unwrap();
        assert_eq!(wire::read_parameters(&saved, Limits::CONTEXT).unwrap(), ours);
        let plain = wire::write_parameters(&ours, Compression::None);
        assert_eq!(zstd::decode_all(&saved[16..]).unwrap(), plain[16..]);
        for compression in Compression::ALL {
            let written = wire::write_parameters(&ours, compression);
            let loaded = EncryptionParameters::from_bytes(&scheme, &written).unwrap();
            assert_eq!(loaded.as_bytes().unwrap(), saved);
            assert_eq!(wire::read_parameters(&written, Limits::CONTEXT).unwrap(), ours);
        }
    }
}

#[test]
fn unusable_parameters_are_refused() {
    let moduli = primes::bfv_default(4096, 128).unwrap();
    let parameters = Parameters::bfv(4096, moduli.to_vec(), true, 1032193).unwrap();
    let bytes = wire::write_parameters(&parameters, Compression::None);
    let with = |offset: usize, value: u64| {
        let mut bytes = bytes.clone();
        bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        wire::read_parameters(&bytes, Limits::CONTEXT).unwrap_err()
    };
    assert!(matches!(with(17, 5000), Error::InvalidDegree { degree: 5000, .. }));
    assert!(matches!(with(17, u64::MAX), Error::Malformed { offset: 17, .. }));
    assert!(matches!(with(25, 65), Error::Malformed { offset: 25, .. }));
    assert!(matches!(with(25, u64::MAX), Error::Malformed { offset: 25, .. }));
    assert!(matches!(with(33 + 16, 15), Error::InvalidModulus { value: 15, .. }));
    let mut scheme = bytes.clone();
    scheme[16] = 3;
    assert!(matches!(wire::read_parameters(&scheme, Limits::CONTEXT), Err(Error::Unsupported { .. })));
}
