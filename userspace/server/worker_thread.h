#pragma once

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "core/stats.h"
#include "io/loop.h"
#include "proxy/worker.h"

namespace sluice::server {

// A worker and the thread that runs it. The control thread speaks to it by post() only.
class WorkerThread {
 public:
  // Returns once the loop runs, or with the reason why it cannot.
  static Result<std::unique_ptr<WorkerThread>> start(const io::LoopOptions& loop_options,
                                                     const proxy::Worker::Options& options,
                                                     stats::Store& store,
                                                     const proxy::Worker::MakeClusters& make_clusters);
  // Stops the loop and joins; sockets and connections that are left are reset.
  ~WorkerThread();

  void post(std::function<void(proxy::Worker&)> fn);
  // Runs `fn` on the worker and waits for it. Not from a worker.
  void call(const std::function<void(proxy::Worker&)>& fn);
  unsigned index() const { return options_.index; }
  const std::string& backend() const { return backend_; }

 private:
  explicit WorkerThread(const proxy::Worker::Options& options) : options_(options) {}
  void main(const io::LoopOptions& loop_options, stats::Store& store,
            const proxy::Worker::MakeClusters& make_clusters, std::promise<Status> started);

  proxy::Worker::Options options_;
  std::string backend_;
  io::Loop* loop_ = nullptr;        // set before `started`, valid until the thread ends
  proxy::Worker* worker_ = nullptr;
  std::thread thread_;
};

}  // namespace sluice::server
