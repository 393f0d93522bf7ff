//! The one form that carries a file to WeCom.
//!
//! Written by hand because WeCom wants two things its way: the file name as raw UTF-8 (of the standard's
//! `filename*=utf-8''…` it understands nothing, and answers 44001, empty media), and a `filelength` beside it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rand::RngExt;
use tokio::sync::watch;

/// Most bytes handed to the connection at once: small enough that a slow line still moves.
const PIECE_BYTES: usize = 64 * 1024;

/// A form with one file in it.
#[derive(Debug)]
pub(in crate::api) struct Form {
    boundary: String,
    head: Bytes,
    file: Bytes,
    tail: Bytes,
}

impl Form {
    /// A form with `file` in its field `media`. The file's name may hold neither quotes nor control characters.
    pub(super) fn new(file_name: &str, content_type: &str, file: Bytes) -> Self {
        let boundary = format!("wecom-kf-{:032x}", rand::rng().random::<u128>());
        let head = format!(
            "--{boundary}\r\n\
             Content-Disposition: form-data; name=\"media\"; filename=\"{file_name}\"; filelength={}\r\n\
             Content-Type: {content_type}\r\n\r\n",
            file.len()
        );
        Self {
            head: head.into(),
            file,
            tail: format!("\r\n--{boundary}--\r\n").into(),
            boundary,
        }
    }

    pub(in crate::api) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// The form on its way. Tells `moves` of every piece that leaves.
    pub(in crate::api) fn body(&self, moves: watch::Sender<()>) -> reqwest::Body {
        reqwest::Body::wrap(Pieces {
            parts: [self.head.clone(), self.file.clone(), self.tail.clone()],
            moves,
        })
    }
}

/// What of a form has not left yet.
struct Pieces {
    parts: [Bytes; 3],
    moves: watch::Sender<()>,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.moves.send_replace(());
        let Some(part) = self.parts.iter_mut().find(|part| !part.is_empty()) else {
            return Poll::Ready(None);
        };
        let piece = part.split_to(part.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn every_piece_is_small_and_its_leaving_is_told() {
        let form = Form::new("a", "b/c", vec![0; PIECE_BYTES * 3].into());
        let (moves, mut moved) = watch::channel(());
        let mut pieces = Pieces {
            parts: [form.head, form.file, form.tail],
            moves,
        };
        let mut left = pieces.size_hint().exact().unwrap();
        while let Some(frame) = pieces.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!((1..=PIECE_BYTES).contains(&piece.len()));
            assert!(moved.has_changed().unwrap());
            moved.mark_unchanged();
            left -= piece.len() as u64;
            assert_eq!(pieces.size_hint().exact(), Some(left));
        }
        assert_eq!(left, 0);
        assert!(pieces.is_end_stream());
    }
}
