//! `wecom-kf send`: says something to a customer.

use std::io::{self, Read as _, Write as _, stdin, stdout};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use wecom_kf::api::{ErrCode, Outgoing, OutgoingMsgid, SendMsg};
use wecom_kf::id::{ExternalUserid, OpenKfid};

use super::calling::{Caller, explained};

/// Most that is read: any message is far shorter.
const MOST_BYTES: u64 = 1024 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints the message's id. WeCom takes five messages after each of the customer's, within 48 hours of it, while no
receptionist has the session. That it took a message does not mean that it was delivered.

Examples:
  wecom-kf send --account wkAJ2GCA… --to wmqfasd1… 'We are back at nine.'
  echo '{\"msgtype\":\"image\",\"image\":{\"media_id\":\"2iSLe…\"}}' | wecom-kf send --account wkAJ2GCA… --to wmqfasd1… --json")]
pub(super) struct Options {
    #[command(flatten)]
    caller: Caller,
    /// Account that speaks: its open_kfid.
    #[arg(long, value_name = "OPEN_KFID")]
    account: String,
    /// Customer to speak to: the external_userid.
    #[arg(long, value_name = "EXTERNAL_USERID")]
    to: String,
    /// Take what is given for a message as WeCom writes it, {"msgtype":…}, instead of for its text.
    #[arg(long)]
    json: bool,
    /// Id to give the message, 1 to 32 characters of 0-9, a-z, A-Z, _ and -. One that was sent under it is not sent again.
    #[arg(long)]
    msgid: Option<OutgoingMsgid>,
    /// What to say; read from standard input if it is - or left out.
    #[arg(default_value = "-", hide_default_value = true)]
    text: String,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let content = options.content()?;
    let client = options.caller.client()?;
    // With an id, a call that got no answer can be repeated.
    let msgid = match &options.msgid {
        Some(msgid) => msgid.clone(),
        None => OutgoingMsgid::new(&format!("{:032x}", rand::random::<u128>()))?,
    };
    let message = SendMsg {
        touser: &ExternalUserid::from(options.to.as_str()),
        open_kfid: &OpenKfid::from(options.account.as_str()),
        msgid: Some(&msgid),
        content: &content,
    };
    match super::runtime()?.block_on(client.send_msg(&message)) {
        Ok(sent) => writeln!(stdout(), "{sent}")?,
        Err(error) if error.errcode() == Some(ErrCode::DUPLICATE_MSGID) && options.msgid.is_some() => {
            eprintln!("wecom-kf: warning: it was sent before under this id, and is not sent again");
            writeln!(stdout(), "{msgid}")?;
        }
        Err(error) if error.is_no_answer() => {
            let error = anyhow::Error::from(error);
            return Err(anyhow!(
                "{error:#} (it may have been sent: to try again, and not say it twice, add --msgid {msgid})"
            ));
        }
        Err(error) => return Err(explained(error)),
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    fn content(&self) -> anyhow::Result<Outgoing> {
        let text = match self.text.as_str() {
            "-" => read_all(stdin().lock()).context("cannot read what to say from standard input")?,
            text => text.to_owned(),
        };
        if !self.json {
            return Ok(Outgoing::text(text));
        }
        let message = serde_json::from_str(&text).context("what to say is no JSON")?;
        Ok(Outgoing::from_json(&message)?)
    }
}

/// What `input` says. The line break that `echo` and editors leave at its end is not part of it.
fn read_all(input: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    input.take(MOST_BYTES).read_to_string(&mut text)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
