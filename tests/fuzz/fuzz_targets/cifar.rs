#![cfg_attr(fuzzing, no_main)]
kshot_fuzz::target!("cifar");
