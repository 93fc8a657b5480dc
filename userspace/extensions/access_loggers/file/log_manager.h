#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/stats.h"
#include "sluice/ext/access_log_manager.h"

namespace sluice::access_loggers {

// Log files by path: two loggers that name the same file share one. "/dev/stdout" and "/dev/stderr" are the
// process's own descriptors, whatever they are. Statistics: Envoy's `filesystem.*`, and
// `filesystem.write_dropped`: records lost because the buffer was full (the disk or the reader is too slow)
// or the write failed (the disk is full).
//
// Writers copy a record into the buffer of their shard and go on: the lock is held for a memcpy, and threads
// have different shards. The file's own thread writes out every flush interval, and at once when a shard
// holds 64 KiB.
class FileLogManager final : public ext::AccessLogManager {
 public:
  struct Options {
    std::chrono::milliseconds flush_interval{1000};
    size_t shard_bytes_max = 1 << 20;  // of 16 shards: what a file may hold in memory before it drops
    std::chrono::milliseconds flush_timeout{
        5000};  // how long flush() and the end wait for a file that does not move
  };
  // Only this object writes the `filesystem.*` cells of `root`'s slot.
  explicit FileLogManager(stats::Scope root) : FileLogManager(std::move(root), Options{}) {}
  FileLogManager(stats::Scope root, Options options);
  ~FileLogManager() override;

  Result<std::shared_ptr<ext::LogFile>> open(const std::string& path) override;
  void reopen() override;
  void flush() override;

 private:
  class File;
  struct Stats;
  std::vector<std::shared_ptr<File>> files();

  const Options options_;
  const std::shared_ptr<Stats> stats_;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<File>> files_;
};

}  // namespace sluice::access_loggers
