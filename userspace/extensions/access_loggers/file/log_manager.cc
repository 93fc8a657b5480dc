#include "extensions/access_loggers/file/log_manager.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <thread>
#include <vector>

#include "core/fd.h"
#include "core/log.h"

namespace sluice::access_loggers {
namespace {

constexpr size_t kShards = 16;
constexpr size_t kFlushAt = 64 << 10;
constexpr size_t kPipeChunk = 4096;  // PIPE_BUF: a pipe that polls writable takes this much without blocking

size_t shard_of_this_thread() {
  static std::atomic<size_t> next{0};
  thread_local const size_t shard = next.fetch_add(1, std::memory_order_relaxed) % kShards;
  return shard;
}

Result<Fd> open_log(const std::string& path) {
  int fd = -1;
  if (path == "/dev/stdout" || path == "/dev/stderr") {
    fd = fcntl(path == "/dev/stdout" ? STDOUT_FILENO : STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  } else {
    // O_NONBLOCK: a FIFO without a reader is an error here, not a hang.
    fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
  }
  if (fd < 0) {
    int code = errno;
    std::string what = "cannot open access log \"" + path + "\"";
    if (code == ENOENT) what += " (does its directory exist?)";
    if (code == ENXIO) what += " (a FIFO that nobody reads)";
    return errno_error(code, what);
  }
  return Fd(fd);
}

}  // namespace

struct FileLogManager::Stats {
  explicit Stats(const stats::Scope& s)
      : write_buffered(s.counter("write_buffered")),
        write_completed(s.counter("write_completed")),
        write_failed(s.counter("write_failed")),
        write_dropped(s.counter("write_dropped")),
        flushed_by_timer(s.counter("flushed_by_timer")),
        reopen_failed(s.counter("reopen_failed")),
        write_total_buffered(s.gauge("write_total_buffered")) {}
  std::mutex mutex;  // the files' threads share the cells
  stats::Counter write_buffered, write_completed, write_failed, write_dropped, flushed_by_timer,
      reopen_failed;
  stats::Gauge write_total_buffered;
};

class FileLogManager::File final : public ext::LogFile {
 public:
  File(std::string path, Fd fd, const Options& options, std::shared_ptr<Stats> stats)
      : path_(std::move(path)), options_(options), stats_(std::move(stats)), fd_(std::move(fd)) {
    set_kind();
    sigset_t all, before;  // signals are the control thread's
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { run(); });
    pthread_setname_np(thread_.native_handle(), "sluice:log");
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~File() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      // check-allow: a thread without a loop, giving up on a file that does not move
      give_up_at_ = std::chrono::steady_clock::now() + options_.flush_timeout;
    }
    wake_.notify_one();
    thread_.join();
  }

  void write(std::string_view line) override {
    Shard& shard = shards_[shard_of_this_thread()];
    bool wake = false;
    {
      std::lock_guard lock(shard.mutex);
      if (shard.bytes.size() + line.size() > options_.shard_bytes_max) {
        ++shard.dropped;
        return;
      }
      bool below = shard.bytes.size() < kFlushAt;
      shard.bytes += line;
      ++shard.records;
      wake = below && shard.bytes.size() >= kFlushAt;
    }
    if (!wake) return;
    {
      std::lock_guard lock(mutex_);
      due_ = true;
    }
    wake_.notify_one();
  }

  void request_reopen() {
    {
      std::lock_guard lock(mutex_);
      reopen_ = true;
    }
    wake_.notify_one();
  }

  void flush() {
    std::unique_lock lock(mutex_);
    uint64_t want = ++flush_wanted_;
    wake_.notify_one();
    flushed_.wait_for(lock, options_.flush_timeout, [&] { return flush_done_ >= want; });
  }

 private:
  struct alignas(128) Shard {
    std::mutex mutex;
    std::string bytes;
    uint64_t records = 0, dropped = 0;  // since the last flush
  };

  void set_kind() {
    struct stat st;
    regular_ = fstat(fd_.get(), &st) == 0 && S_ISREG(st.st_mode);
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      auto asked = [&] { return stop_ || due_ || reopen_ || flush_wanted_ != flush_done_; };
      bool by_timer = !wake_.wait_for(lock, options_.flush_interval, asked);
      bool stop = stop_, reopen = std::exchange(reopen_, false);
      uint64_t flush = flush_wanted_;
      due_ = false;
      lock.unlock();
      // What was written before a reopen belongs to the old file.
      write_out(by_timer);
      if (reopen) reopen_file();
      lock.lock();
      flush_done_ = flush;
      flushed_.notify_all();
      if (stop) return;
    }
  }

  void write_out(bool by_timer) {
    for (Shard& shard : shards_) {
      uint64_t records, dropped;
      {
        std::lock_guard lock(shard.mutex);
        std::swap(spare_, shard.bytes);
        records = std::exchange(shard.records, 0);
        dropped = std::exchange(shard.dropped, 0);
      }
      if (records == 0 && dropped == 0) continue;
      {
        std::lock_guard lock(stats_->mutex);
        stats_->write_buffered.add(records);
        stats_->write_dropped.add(dropped);
        stats_->write_total_buffered.add(spare_.size());
        if (std::exchange(by_timer, false)) stats_->flushed_by_timer.add();
      }
      if (dropped) complain("cannot keep up; records are dropped (filesystem.write_dropped)", 0);
      int error = write_all(spare_);
      {
        std::lock_guard lock(stats_->mutex);
        stats_->write_total_buffered.sub(spare_.size());
        if (error == 0) {
          stats_->write_completed.add();
        } else {
          stats_->write_failed.add();
          stats_->write_dropped.add(static_cast<uint64_t>(
              std::count(spare_.begin() + static_cast<ptrdiff_t>(written_), spare_.end(), '\n')));
        }
      }
      if (error != 0)
        complain("cannot be written; records are dropped (filesystem.write_failed)", error);
      else if (!dropped && std::exchange(complained_, false))
        SLUICE_LOG(main, info, "access log \"{}\" is being written again", path_);
      spare_.clear();
    }
  }

  // 0 or errno; written_ says how far it got.
  int write_all(const std::string& bytes) {
    written_ = 0;
    if (torn_) {
      if (int error = write_some("\n", 1); error != 0) return error;
      torn_ = false;
      written_ = 0;
    }
    while (written_ < bytes.size()) {
      size_t n = bytes.size() - written_;
      if (int error = write_some(bytes.data() + written_, regular_ ? n : std::min(n, kPipeChunk));
          error != 0) {
        torn_ = written_ > 0 && bytes[written_ - 1] != '\n';  // the next record starts on a line of its own
        return error;
      }
    }
    return 0;
  }

  int write_some(const char* data, size_t n) {
    while (true) {
      if (!regular_) {
        pollfd p{fd_.get(), POLLOUT, 0};
        if (poll(&p, 1, 50) == 0) {
          if (given_up()) return ETIMEDOUT;
          continue;
        }
      }
      ssize_t w = ::write(fd_.get(), data, n);
      if (w >= 0) {
        written_ += static_cast<size_t>(w);
        return w == 0 ? EIO : 0;
      }
      if (errno == EAGAIN && given_up()) return ETIMEDOUT;
      if (errno != EINTR && errno != EAGAIN) return errno;
    }
  }

  // Whether the end has come and its patience is over.
  bool given_up() {
    std::lock_guard lock(mutex_);
    // check-allow: a thread without a loop, giving up on a file that does not move
    return stop_ && std::chrono::steady_clock::now() >= give_up_at_;
  }

  void reopen_file() {
    auto fd = open_log(path_);
    if (!fd.ok()) {
      SLUICE_LOG(main, warn, "{}; the old file stays in use", fd.error().message);
      std::lock_guard lock(stats_->mutex);
      stats_->reopen_failed.add();
      return;
    }
    fd_ = std::move(fd).value();
    torn_ = false;
    set_kind();
  }

  // Once until it is well again.
  void complain(std::string_view what, int error) {
    if (std::exchange(complained_, true)) return;
    SLUICE_LOG(main, warn, "access log \"{}\" {}{}{}", path_, what, error ? ": " : "",
               error ? errno_error(error, "write").message : "");
  }

  const std::string path_;
  const Options options_;
  const std::shared_ptr<Stats> stats_;
  std::array<Shard, kShards> shards_;

  // The thread's own.
  Fd fd_;
  bool regular_ = false;
  bool torn_ = false;  // the last write ended within a record
  bool complained_ = false;
  size_t written_ = 0;
  std::string spare_;

  std::mutex mutex_;
  std::condition_variable wake_, flushed_;
  bool stop_ = false, due_ = false, reopen_ = false;
  uint64_t flush_wanted_ = 0, flush_done_ = 0;
  std::chrono::steady_clock::time_point give_up_at_{};
  std::thread thread_;
};

FileLogManager::FileLogManager(stats::Scope root, Options options)
    : options_(options), stats_(std::make_shared<Stats>(root.scope("filesystem"))) {}

FileLogManager::~FileLogManager() {
  flush();
}

Result<std::shared_ptr<ext::LogFile>> FileLogManager::open(const std::string& path) {
  std::lock_guard lock(mutex_);
  std::weak_ptr<File>& known = files_[path];
  if (auto file = known.lock()) return std::shared_ptr<ext::LogFile>(std::move(file));
  auto fd = open_log(path);
  if (!fd.ok()) {
    files_.erase(path);
    return std::move(fd).error();
  }
  auto file = std::make_shared<File>(path, std::move(fd).value(), options_, stats_);
  known = file;
  return std::shared_ptr<ext::LogFile>(std::move(file));
}

std::vector<std::shared_ptr<FileLogManager::File>> FileLogManager::files() {
  std::vector<std::shared_ptr<File>> out;
  std::lock_guard lock(mutex_);
  std::erase_if(files_, [](const auto& entry) { return entry.second.expired(); });
  for (auto& [path, file] : files_) {
    if (auto f = file.lock()) out.push_back(std::move(f));
  }
  return out;
}

void FileLogManager::reopen() {
  for (auto& file : files()) file->request_reopen();
}

void FileLogManager::flush() {
  for (auto& file : files()) file->flush();
}

}  // namespace sluice::access_loggers
