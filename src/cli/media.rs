//! `wecom-kf media`: files of WeCom, to and from a shell.

use std::fs::{self, File};
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::{Subcommand, ValueEnum};
use wecom_kf::api::{Client, Download, DownloadMedia, MediaKind, Upload};
use wecom_kf::id::MediaId;

use super::calling::{Caller, explained};

/// Name of a file that comes without one.
const NAMELESS: &str = "media";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    caller: Caller,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fetches a file that a customer sent, within three days.
    ///
    /// Prints where it is: in the working directory under the name that the customer gave it, without path and control
    /// characters, unless --output says otherwise. The file appears when it has come whole.
    Get {
        /// Which file, as the message names it.
        media_id: String,
        /// Write it to this file, or to standard output if it is -.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a file that is there.
        #[arg(long)]
        force: bool,
    },
    /// Hands WeCom a file that can be sent to customers for three days, and prints its media_id.
    Put {
        /// The file. Customers see its name.
        file: PathBuf,
        /// What it is to be sent as.
        #[arg(long, value_enum, default_value_t = Kind::File)]
        kind: Kind,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// JPEG or PNG, up to 10 MiB.
    Image,
    /// AMR, up to 2 MiB and a minute.
    Voice,
    /// MP4, up to 10 MiB.
    Video,
    /// Anything, up to 20 MiB.
    File,
}

impl From<Kind> for MediaKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Image => Self::Image,
            Kind::Voice => Self::Voice,
            Kind::Video => Self::Video,
            Kind::File => Self::File,
        }
    }
}

/// Whether a file that is there may be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replace {
    Yes,
    No,
}

pub(super) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.caller.client()?;
    super::runtime()?.block_on(async {
        match options.action {
            Action::Get {
                media_id,
                output,
                force,
            } => {
                let replace = if force { Replace::Yes } else { Replace::No };
                get(&client, &MediaId::from(media_id.as_str()), output, replace).await
            }
            Action::Put { file, kind } => put(&client, &file, kind).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn get(client: &Client, media_id: &MediaId, output: Option<PathBuf>, replace: Replace) -> anyhow::Result<()> {
    // Before anything is asked for, if it is known before.
    if let Some(path) = &output {
        refuse_to_replace(path, replace)?;
    }
    let mut download = client
        .download_media(&DownloadMedia::whole(media_id))
        .await
        .map_err(explained)?;
    let path = match output {
        Some(path) if path.as_os_str() == "-" => return write(&mut download, &mut stdout()).await,
        Some(path) => path,
        None => PathBuf::from(download.file_name().unwrap_or(NAMELESS)),
    };
    refuse_to_replace(&path, replace)?;
    save(&mut download, &path, replace).await?;
    writeln!(stdout(), "{}", path.display())?;
    Ok(())
}

fn refuse_to_replace(path: &Path, replace: Replace) -> anyhow::Result<()> {
    // A link that leads nowhere is there too.
    if replace == Replace::No && fs::symlink_metadata(path).is_ok() {
        bail!(
            "{} is there already: name another with --output, or add --force",
            path.display()
        );
    }
    Ok(())
}

/// Writes the file beside its place first, so that nobody takes a part of it for the whole.
async fn save(download: &mut Download, path: &Path, replace: Replace) -> anyhow::Result<()> {
    let name = path.file_name().context("--output names no file")?.to_string_lossy();
    let part = path.with_file_name(format!(".{name}.{:08x}.part", rand::random::<u32>()));
    let cannot = |path: &Path| format!("cannot write {}", path.display());
    let mut file = File::create_new(&part).with_context(|| cannot(&part))?;
    let saved = async {
        write(download, &mut file).await?;
        file.sync_all()?;
        if replace == Replace::No {
            // Fails if somebody has been faster; and what stands there now is ours to replace.
            File::create_new(path).with_context(|| cannot(path))?;
        }
        fs::rename(&part, path).with_context(|| cannot(path))
    }
    .await;
    if saved.is_err() {
        // What is left is of no use to anybody.
        let _ = fs::remove_file(&part);
    }
    saved
}

async fn write(download: &mut Download, file: &mut impl Write) -> anyhow::Result<()> {
    while let Some(piece) = download.chunk().await.map_err(explained)? {
        file.write_all(&piece)?;
    }
    Ok(file.flush()?)
}

async fn put(client: &Client, file: &Path, kind: Kind) -> anyhow::Result<()> {
    let kind = MediaKind::from(kind);
    let upload = Upload {
        kind,
        file_name: file
            .file_name()
            .context("FILE names no file")?
            .to_string_lossy()
            .into_owned(),
        content: read(file, kind).with_context(|| format!("cannot read {}", file.display()))?,
    };
    let uploaded = client.upload_media(&upload).await.map_err(explained)?;
    writeln!(stdout(), "{}", uploaded.media_id)?;
    Ok(())
}

/// Reads one byte more than is allowed at most, which is enough to be refused.
fn read(path: &Path, kind: MediaKind) -> io::Result<Bytes> {
    use io::Read as _;

    let mut content = Vec::new();
    File::open(path)?
        .take(kind.limit_bytes() as u64 + 1)
        .read_to_end(&mut content)?;
    Ok(content.into())
}
