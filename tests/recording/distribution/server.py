"""A worker or parameter server, as TF_CONFIG says. Prints a line when it is up."""

import tensorflow as tf

resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
server = tf.distribute.Server(
    resolver.cluster_spec(), resolver.task_type, resolver.task_id, protocol="grpc"
)
print("up", flush=True)
server.join()
