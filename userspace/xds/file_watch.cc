#include "xds/file_watch.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "core/log.h"

namespace sluice::xds {

struct FileWatch::Entry {
  int wd = -1;
  Callback on_moved_to;
};

struct FileWatch::Poller {
  Poller(io::Loop& l, Fd f, FileWatch& w) : loop(l), fd(std::move(f)), watch(&w), op(&ready, this) {
    loop.poll(op, fd.get(), POLLIN);
  }
  void stop() {
    watch = nullptr;
    op.in_flight() ? loop.cancel(op) : delete this;
  }
  static void ready(io::Op& op, io::Completion&) {
    auto* self = op.owner<Poller>();
    if (self->watch != nullptr) self->watch->read_events(self->fd.get());
    if (self->watch == nullptr)
      delete self;
    else
      self->loop.poll(op, self->fd.get(), POLLIN);
  }

  io::Loop& loop;
  Fd fd;
  FileWatch* watch;
  io::Op op;
};

Result<std::shared_ptr<FileWatch>> FileWatch::make(io::Loop& loop) {
  Fd fd(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd.valid()) return errno_error(errno, "inotify (fs.inotify.max_user_instances may be too low)");
  std::shared_ptr<FileWatch> out(new FileWatch);
  out->poller_ = new Poller(loop, std::move(fd), *out);
  return out;
}

FileWatch::~FileWatch() {
  poller_->stop();
}

Result<std::unique_ptr<FileWatch::Registration>> FileWatch::watch(const std::string& directory,
                                                                  Callback on_moved_to) {
  const int wd =
      inotify_add_watch(poller_->fd.get(), directory.c_str(), IN_MOVED_TO | IN_ONLYDIR | IN_MASK_ADD);
  if (wd < 0) return errno_error(errno, "cannot watch the directory '" + directory + "'");
  auto entry = std::make_shared<Entry>(wd, std::move(on_moved_to));
  entries_.push_back(entry);
  struct Handle final : Registration {
    Handle(FileWatch& w, std::shared_ptr<Entry> e) : watch(w), entry(std::move(e)) {}
    ~Handle() override {
      std::erase(watch.entries_, entry);
      entry->on_moved_to = nullptr;
      for (const auto& other : watch.entries_) {
        if (other->wd == entry->wd) return;  // the kernel has one for each directory
      }
      inotify_rm_watch(watch.poller_->fd.get(), entry->wd);
    }
    FileWatch& watch;
    std::shared_ptr<Entry> entry;
  };
  return std::unique_ptr<Registration>(std::make_unique<Handle>(*this, std::move(entry)));
}

void FileWatch::read_events(int fd) {
  alignas(inotify_event) char block[16 << 10];
  for (;;) {
    const ssize_t n = ::read(fd, block, sizeof block);
    if (n <= 0) return;
    for (const char* p = block; p < block + n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(p);
      p += sizeof *event + event->len;
      // An overflow has lost we do not know what: everybody looks.
      const bool all = (event->mask & IN_Q_OVERFLOW) != 0;
      if (!all && (event->mask & IN_MOVED_TO) == 0) continue;
      std::vector<std::shared_ptr<Entry>> told;
      for (const auto& entry : entries_) {
        if (all || entry->wd == event->wd) told.push_back(entry);
      }
      for (const auto& entry : told) {
        if (entry->on_moved_to) entry->on_moved_to(event->len > 0 ? event->name : std::string_view());
      }
    }
  }
}

}  // namespace sluice::xds
