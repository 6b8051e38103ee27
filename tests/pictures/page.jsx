// A dashboard, drawn from its JSON and Graphite's answers by Grafana's own components. Thresholds,
// mappings, units, reducers and overrides are Grafana's code; only the state timeline, which is not on
// npm, is drawn here.
import 'uplot/dist/uPlot.min.css';
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  applyFieldOverrides,
  createTheme,
  dateTime,
  FieldConfigOptionsRegistry,
  getFieldDisplayValues,
  standardEditorsRegistry,
  standardFieldConfigEditorRegistry,
  ThemeContext,
  toDataFrame,
} from '@grafana/data';
import { BarGauge, BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';

const { dashboard, answers, since, until } = window.PICTURE;
const theme = createTheme({ colors: { mode: 'dark' } });
const CELL = 36;
const GAP = 8;
const COLUMN = (window.innerWidth - 16) / 24;
const plain = (text) => text;

standardEditorsRegistry.setInit(() => []);
standardFieldConfigEditorRegistry.setInit(() => []);

function frames(panel) {
  const registry = new FieldConfigOptionsRegistry();
  const raw = (answers[panel.id] || []).map(({ target, datapoints }) =>
    toDataFrame({
      name: target,
      fields: [
        { name: 'Time', type: 'time', values: datapoints.map((p) => p[1] * 1000), config: {} },
        {
          name: 'Value',
          type: 'number',
          values: datapoints.map((p) => p[0]),
          config: { ...structuredClone(panel.fieldConfig.defaults), displayNameFromDS: target },
        },
      ],
    })
  );
  return applyFieldOverrides({
    data: raw,
    fieldConfig: { defaults: panel.fieldConfig.defaults, overrides: panel.fieldConfig.overrides.map(known) },
    fieldConfigRegistry: registry,
    replaceVariables: plain,
    theme,
    timeZone: 'utc',
  }).map((frame) => coloured(frame, panel));
}

// Overrides need the registry of a panel's plugin, which is not on npm: the one kind there is, a fixed
// colour by name, is set by hand.
function known(override) {
  return { ...override, properties: [] };
}

function coloured(frame, panel) {
  for (const field of frame.fields) {
    const own = panel.fieldConfig.overrides.find((o) => o.matcher.options === frame.name);
    if (own && field.type === 'number') {
      field.config = { ...field.config, color: own.properties[0].value };
    }
  }
  return frame;
}

function Tile({ panel, width, height }) {
  const [value] = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: plain,
    theme,
    data: frames(panel),
    sparkline: panel.options.graphMode !== 'none',
    timeZone: 'utc',
  });
  return (
    <BigValue
      theme={theme}
      width={width}
      height={height}
      value={value.display}
      sparkline={value.sparkline}
      colorMode={panel.options.colorMode}
      graphMode={panel.options.graphMode}
      justifyMode={panel.options.justifyMode}
      textMode={panel.options.textMode}
    />
  );
}

function Bars({ panel, width, height }) {
  const values = getFieldDisplayValues({
    fieldConfig: panel.fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: plain,
    theme,
    data: frames(panel),
    timeZone: 'utc',
  });
  const each = Math.min(40, height / values.length);
  const longest = values.reduce(
    (most, v) => (v.display.text.length > most.text.length ? v.display : most),
    values[0].display
  );
  const title = values.reduce((most, v) => (v.display.title.length > most.length ? v.display.title : most), '');
  return values.map((value) => (
    <div key={value.display.title} style={{ height: each }}>
      <BarGauge
        theme={theme}
        width={width}
        height={each - 6}
        orientation="horizontal"
        field={value.field}
        value={value.display}
        display={value.view ? value.view.getFieldDisplayProcessor(value.colIndex) : undefined}
        displayMode={panel.options.displayMode}
        valueDisplayMode={panel.options.valueMode}
        showUnfilled={panel.options.showUnfilled}
        alignmentFactors={{ title, ...longest, title }}
        itemSpacing={6}
        lcdCellWidth={12}
      />
    </div>
  ));
}

function Graph({ panel, width, height }) {
  const data = frames(panel);
  return (
    <TimeSeries
      frames={data}
      structureRev={1}
      width={width}
      height={height}
      timeZone="utc"
      timeRange={{
        from: dateTime(since * 1000),
        to: dateTime(until * 1000),
        raw: { from: dateTime(since * 1000), to: dateTime(until * 1000) },
      }}
      legend={panel.options.legend}
      options={panel.options}
    />
  );
}

function Timeline({ panel, width, height }) {
  const data = frames(panel);
  const each = Math.min(30, height / data.length);
  const label = 14 + 6.5 * Math.max(...data.map((frame) => frame.name.length));
  return data.map((frame) => {
    const field = frame.fields[1];
    return (
      <div key={frame.name} style={{ display: 'flex', height: each, alignItems: 'center', fontSize: 12 }}>
        <div style={{ width: label, flexShrink: 0, textAlign: 'right', paddingRight: 8 }}>{frame.name}</div>
        <div style={{ display: 'flex', flexGrow: 1, height: each * 0.8 }}>
          {field.values.map((value, n) => (
            <div key={n} style={{ flex: 1, background: value === null ? 'none' : field.display(value).color, opacity: 0.8 }} />
          ))}
        </div>
      </div>
    );
  });
}

const KINDS = { stat: Tile, bargauge: Bars, timeseries: Graph, 'state-timeline': Timeline };

class Guard extends React.Component {
  state = {};
  static getDerivedStateFromError(error) {
    return { error };
  }
  render() {
    return this.state.error ? <pre style={{ color: 'red' }}>{String(this.state.error)}</pre> : this.props.children;
  }
}

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const place = { position: 'absolute', left: 8 + x * COLUMN, top: 8 + y * CELL };
  if (panel.type === 'row') {
    return <div style={{ ...place, lineHeight: `${CELL}px`, fontWeight: 500 }}>{panel.title}</div>;
  }
  const Kind = KINDS[panel.type];
  return (
    <div style={place}>
      <PanelChrome
        title={panel.title}
        description={panel.description}
        width={w * COLUMN - GAP}
        height={h * CELL - GAP}
        padding={panel.type === 'stat' ? 'none' : 'md'}
      >
        {(width, height) =>
          (answers[panel.id] || []).length ? (
            <Guard>
              <Kind panel={panel} width={width} height={height} />
            </Guard>
          ) : (
            <div style={{ textAlign: 'center', paddingTop: height / 2 - 10 }}>
              {panel.fieldConfig.defaults.noValue ?? 'No data'}
            </div>
          )
        }
      </PanelChrome>
    </div>
  );
}

createRoot(document.getElementById('page')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    {dashboard.panels.map((panel) => (
      <Panel key={panel.id} panel={panel} />
    ))}
  </ThemeContext.Provider>
);
