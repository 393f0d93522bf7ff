//! The server's disk in our hands: `disk.c`, compiled and put before the C library of the binary under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A disk for one server. See `disk.c` for what it does.
pub(crate) struct Disk {
    library: PathBuf,
    /// Database that lies on it.
    database: PathBuf,
    platter: PathBuf,
    moods: PathBuf,
    _folder: TempDir,
}

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// Writes fail: no space left.
    Full,
    /// Reads, writes and syncs fail.
    Broken,
}

impl Mood {
    fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Broken => "broken",
        }
    }
}

impl Disk {
    /// A disk on which the database at `database` is to lie.
    pub(crate) fn under(database: &Path) -> Self {
        let folder = TempDir::new().expect("a folder");
        let [platter, moods] = ["platter", "moods"].map(|name| folder.path().join(name));
        for made in [&platter, &moods] {
            fs::create_dir(made).expect("a folder in it");
        }
        let library = folder.path().join("disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/crashes/disk.c");
        // The bundled SQLite was compiled with it too: it is there.
        let compiled = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(source)
            .args(["-ldl", "-lpthread"])
            .status();
        assert!(compiled.expect("cc runs").success());
        Self {
            library,
            database: database.to_owned(),
            platter,
            moods,
            _folder: folder,
        }
    }

    /// Puts the disk under the server that `serve` starts. Of a hundred writes, `leak` reach the platter unasked.
    pub(crate) fn carry(&self, mut serve: Command, leak: u32) -> Command {
        serve
            .env("LD_PRELOAD", &self.library)
            .env("DISK_FILE", &self.database)
            .env("DISK_PLATTER", &self.platter)
            .env("DISK_MOODS", &self.moods)
            .env("DISK_LEAK", leak.to_string());
        serve
    }

    /// The power is cut, and comes back. The server must have been killed.
    pub(crate) fn lose_power(&self) {
        let folder = self.database.parent().expect("a folder");
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        let files = |folder: &Path| {
            fs::read_dir(folder)
                .expect("a folder")
                .map(|entry| entry.expect("a file").path())
        };
        for file in files(folder).filter(|file| name(file).starts_with(&name(&self.database))) {
            fs::remove_file(file).expect("it goes");
        }
        for file in files(&self.platter).collect::<Vec<_>>() {
            if name(&file).ends_with('~') {
                fs::remove_file(file).expect("what has no name is gone");
            } else {
                fs::copy(&file, folder.join(name(&file))).expect("it is back");
            }
        }
    }

    /// From now on the disk is in this mood.
    pub(crate) fn turn(&self, mood: Mood) {
        fs::write(self.moods.join(mood.name()), "").expect("it can be told");
    }

    /// The disk is well again.
    pub(crate) fn mend(&self, mood: Mood) {
        fs::remove_file(self.moods.join(mood.name())).expect("it was in that mood");
    }

    /// From now on the disk says that so many bytes are free.
    pub(crate) fn say_free(&self, bytes: u64) {
        // In one step: half a number is another number.
        let told = self.moods.join("told");
        fs::write(&told, bytes.to_string()).expect("it can be told");
        fs::rename(told, self.moods.join("free")).expect("it can be told");
    }
}
