//! What holds for any input.

use proptest::prelude::*;

use super::{CORP, KEY, NOW, TOKEN, ours, pair, verifier};
use crate::callback::notification::Notification;
use crate::callback::seal;
use crate::callback::xml::Children;

proptest! {
    #[test]
    fn what_is_sealed_opens_to_the_same_bytes(
        // No `<`, which no echo may hold.
        message in proptest::collection::vec(any::<u8>().prop_filter("an echo", |&byte| byte != b'<'), 0..200),
        receiveid in "[a-z0-9]{0,20}",
        timestamp in 1_000_000_000u64..10_000_000_000,
        nonce in "[0-9A-Za-z_-]{1,64}",
        random16: [u8; 16],
    ) {
        let sealed = seal(&pair(TOKEN, KEY), &receiveid, &message, timestamp, &nonce, random16);
        let opened = verifier(TOKEN, KEY, &receiveid).verify_url(&sealed.echo_query(), NOW);
        prop_assert_eq!(opened, Ok(message));
    }

    #[test]
    fn a_sealed_notification_keeps_its_account(
        open_kfid in "[a-zA-Z0-9_-]{1,64}",
        nonce in "[0-9A-Za-z_-]{1,64}",
        random16: [u8; 16],
    ) {
        let xml = format!("<xml><Event>kf_msg_or_event</Event><OpenKfId>{open_kfid}</OpenKfId></xml>");
        let sealed = seal(&pair(TOKEN, KEY), CORP, xml.as_bytes(), 1_760_000_000, &nonce, random16);
        let read = ours().open(&sealed.query(), sealed.body().as_bytes(), NOW);
        prop_assert!(
            matches!(&read, Ok(Notification::Message { open_kfid: Some(id), .. }) if id.as_str() == open_kfid),
            "{:?}", read
        );
    }

    #[test]
    fn arbitrary_requests_are_refused_and_never_panic(
        query in ".*",
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assert!(ours().open(&query, &body, NOW).is_err());
        prop_assert!(ours().verify_url(&query, NOW).is_err());
    }

    #[test]
    fn well_shaped_requests_with_an_arbitrary_signature_are_refused(
        signature in "[0-9a-f]{40}",
        encrypt in "([A-Za-z0-9+/]{4}){1,40}",
    ) {
        let query = format!("msg_signature={signature}&timestamp=1760000000&nonce=n&echostr={encrypt}");
        let body = format!("<xml><Encrypt>{encrypt}</Encrypt></xml>");
        prop_assert_eq!(ours().open(&query, body.as_bytes(), NOW).unwrap_err().reason(), "signature");
        prop_assert_eq!(ours().verify_url(&query, NOW).unwrap_err().reason(), "signature");
    }

    #[test]
    fn arbitrary_markup_never_panics(
        document in "(<|>|/|!|\\?|&|;|#|x|a|\\[|\\]|-|\"|=| |CDATA|DOCTYPE|xml|[0-9]|<a>|</a>|é){0,60}",
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = Children::parse(document.as_bytes(), &["a"]);
        let _ = Children::parse(&bytes, &["a"]);
        let _ = Notification::read(document.as_bytes());
        let _ = Notification::read(&bytes);
    }
}
