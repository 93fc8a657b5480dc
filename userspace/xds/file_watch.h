#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "core/fd.h"
#include "core/result.h"
#include "io/loop.h"

namespace sluice::xds {

// Tells of files that are renamed into directories, by inotify: how configuration files are replaced in one step.
class FileWatch {
 public:
  using Callback = std::function<void(std::string_view name)>;
  static Result<std::shared_ptr<FileWatch>> make(io::Loop& loop);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;

  // Ends with the returned object, also inside the callback.
  class Registration {
   public:
    virtual ~Registration() = default;
  };
  Result<std::unique_ptr<Registration>> watch(const std::string& directory, Callback on_moved_to);

 private:
  struct Entry;
  struct Poller;  // has the descriptor; ends with its last poll
  FileWatch() = default;
  void read_events(int fd);

  Poller* poller_ = nullptr;
  std::list<std::shared_ptr<Entry>> entries_;
};

}  // namespace sluice::xds
