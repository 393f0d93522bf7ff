//! Opens and makes the encrypted part of a callback.
//!
//! WeCom pads to blocks of **32** bytes although AES works on 16, so a padding of 17 to 32 is legal and the `Pkcs7` of
//! the `cbc` crate refuses it. We therefore work on whole blocks and treat the padding here.
//!
//! The signature covers the ciphertext, and [`Verifier`](super::Verifier) checks it first: nobody without the token
//! learns whether padding, length or receiver was wrong.
//!
//! The frame inside is 16 random bytes, the message's length (32 bits, big-endian), the message, and the receiver's id
//! up to the end.
//!
//! Source: <https://developer.work.weixin.qq.com/document/path/90968>

use std::borrow::Cow;

use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes::{Aes256, Block};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::MAX_BODY_BYTES;
use super::key::AesKey;

/// Bytes to which the frame is padded.
const PADDING_BLOCK: usize = 32;
/// Bytes before the message: random ones, and the length.
const HEADER: usize = 16 + 4;

/// The base64 text of a ciphertext, kept as it came because that text is what the signature covers.
#[derive(Debug)]
pub(super) struct Ciphertext<'a>(Cow<'a, str>);

/// A decrypted frame, in the buffer that it was decrypted in.
#[derive(Debug)]
pub(super) struct Frame {
    /// Header, message and receiver, without the padding.
    bytes: Vec<u8>,
    message_end: usize,
}

/// What is wrong with a decrypted frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The base64 is not canonical.
    #[error("ciphertext is not canonical base64")]
    Base64,
    /// The ciphertext is empty or no whole number of AES blocks.
    #[error("ciphertext is no whole number of blocks")]
    Blocks,
    /// The padding is not 1 to 32 bytes that all tell its length.
    #[error("padding is malformed")]
    Padding,
    /// The frame is shorter than its header says, or than the header itself.
    #[error("frame is too short")]
    Length,
}

impl<'a> Ciphertext<'a> {
    /// Takes text that looks like padded base64. Whether it is canonical only shows when it is decoded.
    pub(super) fn parse(text: Cow<'a, str>) -> Option<Self> {
        let symbols = text.strip_suffix("==").or(text.strip_suffix('=')).unwrap_or(&text);
        let is_base64 = !symbols.is_empty()
            && text.len() <= MAX_BODY_BYTES
            && text.len().is_multiple_of(4)
            // To the end whatever comes: without a way out, many bytes are looked at together.
            && symbols.bytes().fold(true, |so_far, byte| so_far & is_symbol(byte));
        is_base64.then_some(Self(text))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a byte is one of the 64 symbols.
fn is_symbol(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | matches!(byte, b'+' | b'/')
}

/// Decrypts, and finds the parts of the frame.
pub(super) fn open(key: &AesKey, ciphertext: &Ciphertext<'_>) -> Result<Frame, FrameError> {
    let mut bytes = STANDARD.decode(ciphertext.as_str()).map_err(|_| FrameError::Base64)?;
    let (blocks, rest) = Block::slice_as_chunks_mut(&mut bytes);
    if !rest.is_empty() {
        return Err(FrameError::Blocks);
    }
    cbc::Decryptor::<Aes256>::new(key.bytes().into(), key.iv().into()).decrypt_blocks(blocks);
    bytes.truncate(strip_padding(&bytes)?.len());
    Frame::new(bytes)
}

impl Frame {
    fn new(bytes: Vec<u8>) -> Result<Self, FrameError> {
        let header = bytes.first_chunk::<HEADER>().ok_or(FrameError::Length)?;
        let [.., a, b, c, d] = *header;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| FrameError::Length)?;
        let message_end = HEADER.checked_add(length).filter(|&end| end <= bytes.len());
        let message_end = message_end.ok_or(FrameError::Length)?;
        Ok(Self { bytes, message_end })
    }

    pub(super) fn message(&self) -> &[u8] {
        &self.bytes[HEADER..self.message_end]
    }

    /// Bytes, because nothing promises UTF-8 before they were compared.
    pub(super) fn receiveid(&self) -> &[u8] {
        &self.bytes[self.message_end..]
    }
}

/// Puts a frame together, and encrypts it. A message of 4 GiB or more does not fit and will not open.
pub(super) fn seal(key: &AesKey, random16: [u8; 16], message: &[u8], receiveid: &[u8]) -> Ciphertext<'static> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = [&random16, &length.to_be_bytes()[..], message, receiveid].concat();
    let padding = PADDING_BLOCK - bytes.len() % PADDING_BLOCK;
    bytes.extend(std::iter::repeat_n(padding as u8, padding));
    let (blocks, _) = Block::slice_as_chunks_mut(&mut bytes);
    cbc::Encryptor::<Aes256>::new(key.bytes().into(), key.iv().into()).encrypt_blocks(blocks);
    Ciphertext(STANDARD.encode(&bytes).into())
}

fn strip_padding(bytes: &[u8]) -> Result<&[u8], FrameError> {
    let last = *bytes.last().ok_or(FrameError::Padding)?;
    let length = usize::from(last);
    if !(1..=PADDING_BLOCK).contains(&length) {
        return Err(FrameError::Padding);
    }
    let (frame, padding) = bytes
        .len()
        .checked_sub(length)
        .map(|end| bytes.split_at(end))
        .ok_or(FrameError::Padding)?;
    if padding.iter().all(|&byte| byte == last) {
        Ok(frame)
    } else {
        Err(FrameError::Padding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padding_of_any_legal_length_is_stripped() {
        for length in 1..=32u8 {
            let bytes = [b"frame".as_slice(), &vec![length; length.into()]].concat();
            assert_eq!(strip_padding(&bytes), Ok(b"frame".as_slice()), "{length}");
        }
    }

    #[test]
    fn an_illegal_padding_is_refused() {
        let mut uneven = vec![7; 64];
        uneven[57] = 8;
        for bad in [vec![], vec![0; 64], vec![33; 64], vec![9; 8], vec![255; 64], uneven] {
            assert_eq!(strip_padding(&bad), Err(FrameError::Padding), "{bad:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_frame_is_refused() {
        let frame = |length: u32| [&[0; 16], &length.to_be_bytes()[..], b"msg"].concat();
        let whole = Frame::new(frame(3)).unwrap();
        assert_eq!((whole.message(), whole.receiveid()), (&b"msg"[..], &b""[..]));
        for bad in [4, u32::MAX] {
            assert_eq!(Frame::new(frame(bad)).unwrap_err(), FrameError::Length);
        }
        assert_eq!(Frame::new(vec![0; 19]).unwrap_err(), FrameError::Length);
    }

    #[test]
    fn text_that_is_no_base64_is_no_ciphertext() {
        for bad in [
            "", "====", "==", "abc", "abc=d", "ab===", "ab c", "ab-_", "abcd\n", "a\u{e9}b",
        ] {
            assert!(Ciphertext::parse(bad.into()).is_none(), "{bad:?}");
        }
        assert!(Ciphertext::parse("A".repeat(MAX_BODY_BYTES).into()).is_some());
        assert!(Ciphertext::parse("A".repeat(MAX_BODY_BYTES + 4).into()).is_none());
    }
}
