import { useMemo } from 'preact/hooks';
import type { Optimizer } from '../api/schema.gen';
import type { Source } from '../model/source';
import type { Shown, Store } from '../model/store';
import { count, visible } from '../model/text';
import {
  sayApplied,
  sayVariables,
  type UpdateNumbers,
  USUAL_SOURCE,
  USUAL_TEXT,
} from '../model/updates';
import { Empty } from './empty';
import { FilterBox } from './tools';
import { TryAgain } from './try-again';
import { RateChart, RatioChart, ScaleChart } from './update-charts';
import { RatioTable } from './update-table';
import { useLoaded } from './use-loaded';
import { useSeen } from './use-seen';
import { Where } from './where';

interface Props {
  store: Store;
  shown: Shown;
  source: Source;
}

/** What each optimizer made of the gradients that reached it. */
export function Updates({ store, shown, source }: Props) {
  const { optimizers } = shown.run;
  if (optimizers.length === 0) {
    return (
      <Empty
        title="No updates recorded"
        lines={[
          'optimizer = gs.watch_optimizer(optimizer)  # the same optimizer, now recording',
          'optimizer.apply_gradients(zip(gradients, variables))',
        ]}
      >
        Wrap your Keras optimizer, and this shows how large each update is beside its variable,
        which steps a mixed-precision loss scale left out, and the learning rate.
      </Empty>
    );
  }
  return (
    <div class="sheet">
      <div class="row intro">
        <FilterBox store={store} />
        <p class="muted">
          Where training goes well, updates are often about {USUAL_TEXT} of their variable: a rule
          of thumb (
          <a class="link" href={USUAL_SOURCE} target="_blank" rel="noreferrer">
            CS231n
          </a>
          ), no law.
        </p>
      </div>
      {optimizers.map((optimizer) => (
        <Card key={optimizer.id} {...{ store, shown, source, optimizer }} />
      ))}
    </div>
  );
}

interface CardProps extends Props {
  optimizer: Optimizer;
}

function Card({ store, shown, source, optimizer }: CardProps) {
  const [card, seen] = useSeen();
  const { run } = shown;
  const { name, class_name, accumulation, label } = optimizer;
  return (
    <section class="card" ref={card} aria-label={`Optimizer ${name}`}>
      <header>
        <h2>
          <bdi>{visible(name)}</bdi>
        </h2>
        {class_name && <span class="chip">{visible(class_name)}</span>}
        {label.subtitle && <span class="chip">{label.subtitle}</span>}
        {/* Keras calls them adam and adam_1. */}
        {run.optimizers.length > 1 && (
          <span>
            {sayVariables(optimizer.variables.map((at) => run.variables[at]?.name ?? ''))}
          </span>
        )}
        <span>{sayApplied(optimizer)}</span>
        {accumulation > 1 && (
          <span class="muted">one update for {count(accumulation)} micro-batches</span>
        )}
      </header>
      <Where place={optimizer.where} />
      {seen && <Numbers {...{ store, shown, source, optimizer }} />}
    </section>
  );
}

function Numbers({ store, shown, source, optimizer }: CardProps) {
  const { run } = shown;
  const [answer, retry] = useLoaded(() => source.optimizer(run, optimizer), [run, optimizer.id]);
  if (answer.failure) {
    return <TryAgain failure={answer.failure} retry={retry} />;
  }
  if (!answer.value) return <p class="muted">Loading…</p>;
  return <Body {...{ store, shown, optimizer }} numbers={answer.value} />;
}

interface BodyProps {
  store: Store;
  shown: Shown;
  optimizer: Optimizer;
  numbers: UpdateNumbers;
}

function Body({ store, shown, optimizer, numbers }: BodyProps) {
  const { run } = shown;
  const chosen = store.selection.value?.variable ?? '';
  const variable = useMemo(
    () => optimizer.variables.findIndex((at) => run.variables[at]?.name === chosen),
    [run, optimizer, chosen],
  );
  const scaled =
    optimizer.has_loss_scale || optimizer.steps.some((_, i) => numbers.lossScale(i) !== 1);
  return (
    <div class="clip-body ratios-first">
      <div class="clip-charts">
        <RatioChart {...{ store, run, numbers, variable }} />
        {scaled && <ScaleChart {...{ store, run, numbers }} />}
        <RateChart {...{ store, run, numbers }} />
      </div>
      <RatioTable {...{ store, shown, numbers, variable }} />
    </div>
  );
}
