#include "extensions/access_loggers/file/log_manager.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "core/fd.h"

using namespace sluice;
using access_loggers::FileLogManager;
namespace fs = std::filesystem;

namespace {

struct TempDir {
  TempDir() {
    char name[] = "/tmp/sluice-log-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDir() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
  fs::path path;
};

std::string read(const std::string& path) {
  std::ifstream in(path);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}

uint64_t value(const stats::Store& store, std::string_view name) {
  for (auto& m : store.snapshot()) {
    if (m.name == name) return m.value;
  }
  return ~0ull;
}

// Nothing leaves by the clock: the tests say when.
FileLogManager::Options quiet() {
  FileLogManager::Options o;
  o.flush_interval = std::chrono::hours(1);
  return o;
}

}  // namespace

TEST_CASE("records of many threads arrive whole, and are counted") {
  TempDir dir;
  stats::Store store(1);
  FileLogManager manager(store.root(0), quiet());
  auto file = manager.open(dir / "log");
  REQUIRE(file.ok());
  CHECK(manager.open(dir / "log").value() == *file);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::string line = std::string(80, static_cast<char>('a' + t)) + "\n";
      for (int i = 0; i < 2000; ++i) (*file)->write(line);
    });
  }
  for (auto& t : threads) t.join();
  manager.flush();
  std::istringstream in(read(dir / "log"));
  int lines = 0;
  for (std::string line; std::getline(in, line); ++lines) {
    REQUIRE(line.size() == 80);
    REQUIRE(line.find_first_not_of(line[0]) == std::string::npos);
  }
  CHECK(lines == 8000);
  CHECK(value(store, "filesystem.write_buffered") == 8000);
  CHECK(value(store, "filesystem.write_dropped") == 0);
  CHECK(value(store, "filesystem.write_total_buffered") == 0);
  CHECK(value(store, "filesystem.write_completed") > 0);
}

TEST_CASE("the end writes out what is left") {
  TempDir dir;
  stats::Store store(1);
  {
    FileLogManager manager(store.root(0), quiet());
    manager.open(dir / "log").value()->write("last words\n");
  }
  CHECK(read(dir / "log") == "last words\n");
}

TEST_CASE("reopen: what was written before goes to the old file, what comes after to the new") {
  TempDir dir;
  stats::Store store(1);
  FileLogManager manager(store.root(0), quiet());
  auto file = manager.open(dir / "log").value();
  file->write("one\n");
  fs::rename(dir / "log", dir / "log.1");
  manager.reopen();
  manager.flush();
  file->write("two\n");
  manager.flush();
  CHECK(read(dir / "log.1") == "one\n");
  CHECK(read(dir / "log") == "two\n");
  // A new file that cannot be made leaves the old one in use.
  fs::rename(dir.path, dir.path.string() + ".moved");
  manager.reopen();
  manager.flush();
  file->write("three\n");
  manager.flush();
  fs::rename(dir.path.string() + ".moved", dir.path);
  CHECK(read(dir / "log") == "two\nthree\n");
  CHECK(value(store, "filesystem.reopen_failed") == 1);
}

TEST_CASE("a full disk drops records, counts them, and does not tear later ones") {
  stats::Store store(1);
  FileLogManager manager(store.root(0), quiet());
  auto file = manager.open("/dev/full");
  REQUIRE(file.ok());
  for (int i = 0; i < 3; ++i) (*file)->write("x\n");
  manager.flush();
  CHECK(value(store, "filesystem.write_failed") == 1);
  CHECK(value(store, "filesystem.write_dropped") == 3);
  CHECK(value(store, "filesystem.write_total_buffered") == 0);
}

TEST_CASE(
    "a reader that does not read costs bounded memory, never blocks a writer, and does not hold up the end") {
  TempDir dir;
  REQUIRE(mkfifo((dir / "fifo").c_str(), 0600) == 0);
  stats::Store store(1);
  FileLogManager::Options options = quiet();
  options.shard_bytes_max = 100'000;
  options.flush_timeout = std::chrono::milliseconds(100);
  Fd reader(::open((dir / "fifo").c_str(), O_RDONLY | O_NONBLOCK));
  REQUIRE(reader.valid());
  {
    FileLogManager manager(store.root(0), options);
    auto file = manager.open(dir / "fifo");
    REQUIRE(file.ok());
    std::string line(999, 'z');
    line += '\n';
    for (int i = 0; i < 1000; ++i) (*file)->write(line);  // 1 MB against a pipe of 64 KB
  }
  uint64_t dropped = value(store, "filesystem.write_dropped");
  CHECK(dropped >= 700);
  CHECK(dropped < 1000);
}

TEST_CASE("what cannot be opened is an error that names the file") {
  stats::Store store(1);
  FileLogManager manager(store.root(0));
  auto none = manager.open("/nonexistent/dir/log");
  REQUIRE_FALSE(none.ok());
  CHECK(none.error().message.find("/nonexistent/dir/log") != std::string::npos);
  CHECK(none.error().message.find("does its directory exist") != std::string::npos);
  TempDir dir;
  REQUIRE(mkfifo((dir / "fifo").c_str(), 0600) == 0);
  auto fifo = manager.open(dir / "fifo");
  REQUIRE_FALSE(fifo.ok());
  CHECK(fifo.error().message.find("nobody reads") != std::string::npos);
}
