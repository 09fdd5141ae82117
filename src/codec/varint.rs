//! Numbers in as few bytes as they need (LEB128, as in postcard): seven bits in each byte, the lowest first; all bytes
//! but the last have the eighth bit set.

use postcard::Error as Cause;

use super::error::{Error, Result};

/// Takes a number of at most `bits` bits off the front of `bytes`; 64 bits at most.
#[inline]
pub(super) fn take(bytes: &mut &[u8], bits: u32) -> Result<u64> {
    let mut rest = *bytes;
    let mut number = 0;
    for place in 0..longest(bits) {
        let Some((byte, behind)) = rest.split_first() else {
            return Err(Error(Cause::DeserializeUnexpectedEnd));
        };
        rest = behind;
        let shift = 7 * place;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            if shift + 7 > bits && byte >> (bits - shift) != 0 {
                return Err(Error(Cause::DeserializeBadVarint));
            }
            *bytes = rest;
            return Ok(number);
        }
    }
    Err(Error(Cause::DeserializeBadVarint))
}

/// Takes a number of at most 128 bits off the front of `bytes`.
pub(super) fn take_long(bytes: &mut &[u8]) -> Result<u128> {
    take_wide(bytes, u128::BITS)
}

fn take_wide(bytes: &mut &[u8], bits: u32) -> Result<u128> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(longest(bits) as usize).enumerate() {
        let shift = 7 * place as u32;
        let part = u128::from(byte & 0x7f);
        if shift + 7 > bits && part >> (bits - shift) != 0 {
            return Err(Error(Cause::DeserializeBadVarint));
        }
        number |= part << shift;
        if *byte < 0x80 {
            *bytes = &bytes[place + 1..];
            return Ok(number);
        }
    }
    match bytes.len() < longest(bits) as usize {
        true => Err(Error(Cause::DeserializeUnexpectedEnd)),
        false => Err(Error(Cause::DeserializeBadVarint)),
    }
}

/// The most bytes that a number of `bits` bits takes.
#[inline]
fn longest(bits: u32) -> u32 {
    bits.div_ceil(7)
}

/// The signed number whose sign is the lowest bit of `number`.
#[inline]
pub(super) fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// [`signed`] for 128 bits.
#[inline]
pub(super) fn signed_long(number: u128) -> i128 {
    (number >> 1) as i128 ^ -((number & 1) as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_read_as_postcard_reads_it_wherever_it_ends() {
        // Every last byte at every length, with and without bytes behind; also numbers that are too long or too large.
        for len in 0..12_usize {
            for last in (0..=u8::MAX).step_by(if cfg!(miri) { 51 } else { 1 }) {
                for behind in [0, 1, 9] {
                    let mut bytes = vec![0xa5; len];
                    bytes.push(last);
                    bytes.extend(vec![0x11; behind]);
                    compare::<u16>(&bytes, 16);
                    compare::<u32>(&bytes, 32);
                    compare::<u64>(&bytes, 64);
                }
            }
        }
    }

    fn compare<T: serde::de::DeserializeOwned + Into<u64>>(bytes: &[u8], bits: u32) {
        let theirs = postcard::take_from_bytes::<T>(bytes);
        let mut rest = bytes;
        let ours = take(&mut rest, bits);
        match (ours, theirs) {
            (Ok(number), Ok((expected, behind))) => {
                assert_eq!((number, rest), (expected.into(), behind));
            }
            (ours, theirs) => assert!(
                ours.is_err() && theirs.is_err(),
                "{bytes:?} as {bits} bits: {ours:?}"
            ),
        }
    }

    #[test]
    fn longest_numbers_are_read_back() {
        for number in [0, 1, u128::from(u64::MAX), u128::MAX] {
            let bytes = postcard::to_allocvec(&number).unwrap();
            assert_eq!(take_long(&mut &bytes[..]), Ok(number));
        }
        assert_eq!(signed(u64::MAX), i64::MIN);
        assert_eq!(signed_long(u128::MAX), i128::MIN);
    }
}
