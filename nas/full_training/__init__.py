"""From an exported bundle to a trained network: `train` and `evaluate`, the one place that opens test images.

recipe        settings of a training, from TOML; the families' own lie in `spikformer/recipes`
images        CIFAR, class folders, WebDataset shards: the images of a training and those of its test
shards        images inside tar files
overlap       copies of training images among those of the test
decoding      an image file to its pixels
augmentation  pixels to what the network is shown
shrinking     images stored smaller, as shards
resident      images that stay on the device
loading       which images make a step, read and augmented by several processes
team          the processes that train together: ranks, batch norm over all of them
objective     loss: mixed labels, a teacher
state         checkpoints
journal       JSON lines, TensorBoard, progress
stopping      SIGINT and SIGTERM end it between two steps
build         network, optimizer, schedule, average
loop          the training loop
evaluation    accuracy and costs on test images
outcome       the record and card of a finished training
rehearsal     a few steps, and how long the whole training would take
"""
