//! How many bits a coefficient modulus may have: the smaller of two published tables, for ternary
//! secrets and classical attacks.

/// 2018 Homomorphic Encryption Standard, table 1 (uniform ternary secret), bits of q by degree.
pub fn standard_2018(degree: usize, security: u32) -> Option<u32> {
    let column = match security {
        128 => [27, 54, 109, 218, 438, 881],
        192 => [19, 37, 75, 152, 305, 611],
        256 => [14, 29, 58, 118, 237, 476],
        _ => return None,
    };
    column.get(row(degree)?).copied()
}

/// 2024 Security Guidelines for Implementing Homomorphic Encryption (Bossuat et al., ePrint 2024/463),
/// ternary secret, bits of q by degree. The guideline gives no value for N = 1024 above 128 bits.
pub fn guideline_2024(degree: usize, security: u32) -> Option<u32> {
    let column = match security {
        128 => [Some(26), Some(53), Some(106), Some(214), Some(430), Some(868)],
        192 => [None, Some(36), Some(73), Some(147), Some(297), Some(597)],
        256 => [None, Some(27), Some(56), Some(114), Some(230), Some(462)],
        _ => return None,
    };
    column.get(row(degree)?).copied().flatten()
}

/// The limit that this library enforces: the smaller of both tables.
pub fn limit(degree: usize, security: u32) -> Option<u32> {
    let standard = standard_2018(degree, security)?;
    Some(guideline_2024(degree, security).map_or(standard, |guideline| guideline.min(standard)))
}

fn row(degree: usize) -> Option<usize> {
    [1024, 2048, 4096, 8192, 16384, 32768].iter().position(|&n| n == degree)
}
