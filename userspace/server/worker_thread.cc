#include "server/worker_thread.h"

#include <pthread.h>

#include "core/log.h"

namespace sluice::server {
namespace {

// Turns given to what is in flight after everything was told to end.
constexpr int kLastTurns = 1000;

}  // namespace

Result<std::unique_ptr<WorkerThread>> WorkerThread::start(const io::LoopOptions& loop_options,
                                                          const proxy::Worker::Options& options,
                                                          stats::Store& store,
                                                          const proxy::Worker::MakeClusters& make_clusters) {
  std::unique_ptr<WorkerThread> t(new WorkerThread(options));
  std::promise<Status> started;
  std::future<Status> outcome = started.get_future();
  t->thread_ = std::thread([&, self = t.get(), promise = std::move(started)]() mutable {
    self->main(loop_options, store, make_clusters, std::move(promise));
  });
  if (Status s = outcome.get(); !s) {
    t->thread_.join();
    return std::move(s).error().prefixed("worker " + std::to_string(options.index));
  }
  return t;
}

void WorkerThread::main(const io::LoopOptions& loop_options, stats::Store& store,
                        const proxy::Worker::MakeClusters& make_clusters, std::promise<Status> started) {
  std::string name = "wrk:" + std::to_string(options_.index);
  pthread_setname_np(pthread_self(), name.c_str());
  auto loop = io::make_loop(loop_options);
  if (!loop) return started.set_value(std::move(loop).error());
  loop_ = loop->get();
  backend_ = loop_->backend_name();
  {
    proxy::Worker worker(*loop_, store, options_, make_clusters);
    worker_ = &worker;
    started.set_value({});
    loop_->run();
    worker.close_all_sockets();
    worker.close_connections(nullptr);
    worker.clusters().close();
    // A connection is over before the kernel has let go of its last operation.
    auto quiet = [&] { return worker.idle() && loop_->ops_in_flight() == 0; };
    for (int i = 0; i < kLastTurns && !quiet(); ++i) loop_->run_once(std::chrono::milliseconds(1));
    if (!quiet())
      SLUICE_LOG(main, warn, "worker {}: {} connections did not end", options_.index,
                 worker.connection_count());
    worker_ = nullptr;
  }
}

WorkerThread::~WorkerThread() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

void WorkerThread::post(std::function<void(proxy::Worker&)> fn) {
  loop_->post([this, fn = std::move(fn)] {
    if (worker_) fn(*worker_);
  });
}

void WorkerThread::call(const std::function<void(proxy::Worker&)>& fn) {
  std::promise<void> done;
  post([&](proxy::Worker& w) {
    fn(w);
    done.set_value();
  });
  done.get_future().wait();
}

}  // namespace sluice::server
